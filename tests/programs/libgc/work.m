/* An Objective-C workload for the GNU runtime with garbage collection: instances, strings, weak references, threads. */
#include <objc/Object.h>
#include <objc/objc.h>
#include <objc/runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

@interface Node : Object {
  Node *left, *right;
  long number;
  char *name;
}
+ (Node *)make:(int)depth number:(long)n;
- (long)sum;
- (void)setNumber:(long)n;
@end

@implementation Node
+ (Node *)make:(int)depth number:(long)n
{
    Node *node = class_createInstance(self, 0);
    [node setNumber:n];
    if (depth > 0) {
        node->left = [Node make:depth - 1 number:n * 2];
        node->right = [Node make:depth - 1 number:n * 2 + 1];
    }
    return node;
}
- (void)setNumber:(long)n
{
    number = n;
    name = objc_malloc(32);
    snprintf(name, 32, "node %ld", n);
}
- (long)sum
{
    long total = number + (long)strlen(name);
    if (left)
        total += [left sum] + [right sum];
    return total;
}
@end

static Node *kept[20];

/* 200 trees, as often as the argument says. */
int main(int argc, char **argv)
{
    long total = 0;
    int trees = 200 * (argc > 1 ? atoi(argv[1]) : 1);
    for (int i = 0; i < trees; i++) {
        Node *tree = [Node make:10 number:i];
        if (i < 200 && i % 10 == 0)
            kept[i / 10] = tree;
        total += [tree sum];
    }
    for (int i = 0; i < 20; i++)
        total += [kept[i] sum];
    printf("sum %ld\n", total);
    char *atomic = objc_atomic_malloc(100000);
    memset(atomic, 'x', 100000);
    atomic = objc_realloc(atomic, 200000);
    printf("%c %d\n", atomic[99999], class_getInstanceSize([Node class]) >= 32);
    objc_free(atomic);
    for (int i = 0; i < 1000; i++) {
        int *p = objc_calloc(1000, sizeof *p);
        if (p[999])
            printf("not cleared\n");
    }
    printf("sum %ld\n", [kept[19] sum]);
    return 3;
}
