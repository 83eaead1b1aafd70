/* A module with dynamic thread-local data, and static data, both of which keep pointers. */
#include <stdint.h>
static __thread uintptr_t thread_place[4096];
static uintptr_t static_place[64];
uintptr_t *dynamic_tls(void) { return thread_place; }
uintptr_t *module_data(void) { return static_place; }
