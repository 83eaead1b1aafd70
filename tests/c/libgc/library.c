/* The library that dlopen.c loads. */
#include <gc/gc.h>

void *library_data[100] = {&library_data};
void *library_bss[100];
void *library_allocate(size_t size);
void *library_allocate(size_t size) { return GC_malloc(size); }
