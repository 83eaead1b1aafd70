/* A module whose thread-local data must lie in the static TLS block. */
static __thread char data[96] __attribute__((tls_model("initial-exec")));
char *static_tls(void) { return data; }
