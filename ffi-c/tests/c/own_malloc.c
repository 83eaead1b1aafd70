// A library whose malloc is libc's, because it is loaded with RTLD_DEEPBIND.
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

void *get(size_t n) {
    void *p = malloc(n);
    if (p) memset(p, 7, n);
    return p;
}
void *get_aligned(size_t align, size_t n) { return memalign(align, n); }
