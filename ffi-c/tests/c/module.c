// A library that loses blocks: COUNT of them, one of each kind of call.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) void lose(uintptr_t *hidden, int count) {
    for (int i = 0; i < count; i++) {
        void *p = 0;
        switch (i % 5) {
        case 0: p = malloc(3000); break;
        case 1: p = calloc(3, 1000); break;
        case 2: p = realloc(malloc(8), 3000); break;
        case 3: p = aligned_alloc(64, 3008); break;
        case 4: if (posix_memalign(&p, 4096, 3000)) abort(); break;
        }
        hidden[i] = ~(uintptr_t)p;
    }
}
