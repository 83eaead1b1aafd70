/* A program with a megabyte in use takes a few. */
#include "oracle.h"

struct node {
    struct node *left, *right;
    long number;
};

static struct node *tree(int depth)
{
    struct node *node = GC_NEW(struct node);
    if (depth > 0) {
        node->left = tree(depth - 1);
        node->right = tree(depth - 1);
    }
    return node;
}

/* The most memory that the process has had resident, in KiB. */
static long most(void)
{
    char line[256];
    long kib = -1;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %ld", &kib) == 1)
            break;
    if (status)
        fclose(status);
    return kib;
}

int main(void)
{
    GC_INIT();
    struct node *kept = tree(13);
    for (int i = 0; i < 200; i++)
        tree(11);
    long kib = most();
    say("resident: %s", kib > 0 && kib < 9000 ? "little" : "much");
    fprintf(stderr, "%ld\n", kib);
    return kept->left == NULL;
}
