/* The exported functions that print, which no header declares, and dlopen. */
#include "oracle.h"
#include <dlfcn.h>

void GC_printf(const char *format, ...), GC_err_printf(const char *format, ...), GC_log_printf(const char *format, ...);

int main(void)
{
    GC_INIT();
    void (*const prints[])(const char *, ...) = {GC_printf, GC_err_printf, GC_log_printf};
    for (int i = 0; i < 3; i++) {
        prints[i]("plain\n");
        prints[i]("%d %s %c %ld %x %lu %d %d %d\n", 1, "two", '3', 4L, 5u, 6ul, 7, 8, 9);
        prints[i]("%d %.2f %d %.1f %g %g %g %g %g %g %g %d\n", 1, 2.5, 3, 4.25, 5., 6., 7., 8., 9., 10., 11., 12);
    }
    void *library = GC_dlopen("libm.so.6", RTLD_NOW);
    say("dlopen: %d %d", library != NULL, library && dlsym(library, "cos") != NULL);
    say("none: %d", GC_dlopen("libno-such-library.so", RTLD_NOW) == NULL);
    return 0;
}
