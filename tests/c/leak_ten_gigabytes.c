/* Allocates 10 GB in pieces of 100 bytes, keeps a few in a table, loses the rest. Prints ok when every
 * piece that is still in the table is intact. The caller sets a limit of 512 MB. */
#include "check.h"

enum { PIECE = 100, KEPT = 20000 };

static unsigned char *kept[KEPT];

int main(int argc, char **argv)
{
    const uint64_t total = (argc > 1 ? strtoull(argv[1], NULL, 10) : 10000) * 1000000ULL;
    for (uint64_t i = 0; i < total / PIECE; i++) {
        unsigned char *piece = malloc(PIECE);
        if (!piece) {
            fprintf(stderr, "malloc failed after %llu MB: %s\n", (unsigned long long)(i * PIECE / 1000000),
                    strerror(errno));
            return 1;
        }
        memset(piece, (int)(i % KEPT % 251), PIECE);
        if (i % 97 == 0)
            kept[i % KEPT] = piece;
    }
    for (int i = 0; i < KEPT; i++)
        for (int j = 0; kept[i] && j < PIECE; j++)
            CHECK(kept[i][j] == i % 251);
    puts("ok");
    return 0;
}
