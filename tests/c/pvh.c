/*
 * What GRUB loads as a Multiboot kernel with two modules, an uncompressed Linux and its initrd: puts Linux where it wants to be, and enters it by its PVH
 * entry (Xen's "x86/HVM direct boot ABI"). An emulator that interprets every instruction so need not decompress a kernel.
 */
#include <stddef.h>
#include <stdint.h>

/* Above everything that Linux puts below it. */
#define COPIES 0x20000000u

struct module { uint32_t start, end, line, zero; };
struct multiboot {
    uint32_t flags, lower, upper, device, line, modules, module, symbols[4], map_size, map;
};
struct range { uint32_t size; uint64_t start, length; uint32_t kind; } __attribute__((packed));

struct elf { uint8_t id[16]; uint16_t type, machine; uint32_t version; uint64_t entry, headers, sections; uint32_t flags; uint16_t own, size, count; };
struct segment { uint32_t type, flags; uint64_t offset, virtual, physical, in_file, in_memory, align; };
struct note { uint32_t name, size, type; };

static struct { uint64_t start, size, line, zero; } initrd;
static struct { uint64_t start, size; uint32_t kind, zero; } map[32];
static struct {
    uint32_t magic, version, flags, modules;
    uint64_t module, line, acpi, map;
    uint32_t entries, zero;
} start = { .magic = 0x336ec578, .version = 1, .modules = 1 };

/* Header and entry; the stack is ours. */
asm(".text\n.align 4\n.long 0x1badb002, 3, -(0x1badb002 + 3)\n"
    ".globl _start\n_start: mov $stack + 8192, %esp\npush %ebx\ncall load\n"
    ".globl enter\nenter: mov 4(%esp), %ecx\nmov 8(%esp), %ebx\nxor %eax, %eax\njmp *%ecx\n"
    ".bss\n.align 16\nstack: .skip 8192\n");
void enter(uint32_t entry, void *info) __attribute__((noreturn));

static void copy(uint32_t to, uint32_t from, uint32_t size)
{
    asm volatile("rep movsl" : "+D"(to), "+S"(from), "=c"(size) : "c"((size + 3) / 4) : "memory");
}

static void zero(uint32_t to, uint32_t size)
{
    asm volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(0) : "memory");
}

static void fail(const char *why)
{
    for (; *why; why++)
        asm volatile("outb %%al, %%dx" : : "a"(*why), "d"(0x3f8));
    for (;;)
        asm volatile("cli; hlt");
}

/* The PVH entry: the note 18 of Xen's. */
static uint32_t entry_of(uint32_t at, uint32_t size)
{
    for (uint32_t end = at + size; at < end;) {
        const struct note *note = (void *)at;
        uint32_t content = at + sizeof *note + ((note->name + 3) & ~3u);
        if (note->type == 18 && note->name == 4 && *(uint32_t *)(at + sizeof *note) == 0x006e6558)
            return *(uint32_t *)content;
        at = content + ((note->size + 3) & ~3u);
    }
    return 0;
}

static uint32_t find_acpi(void)
{
    for (uint32_t at = 0xe0000; at < 0x100000; at += 16)
        if (*(uint64_t *)at == 0x2052545020445352ull)
            return at;
    return 0;
}

void load(const struct multiboot *given)
{
    const struct module *module = (void *)given->module;
    if (given->modules != 2)
        fail("pvh: two modules are needed\n");
    uint32_t size = module[0].end - module[0].start, second = module[1].end - module[1].start;
    if (module[1].end > COPIES)
        fail("pvh: modules are too high\n");
    start.line = module[0].line;
    const char *line = (void *)module[0].line;
    while (*line && *line != ' ')
        line++;
    start.line = (uint32_t)line;
    initrd.start = COPIES + ((size + 0xfff) & ~0xfffu);
    initrd.size = second;
    copy(initrd.start, module[1].start, second);
    copy(COPIES, module[0].start, size);

    uint32_t n = 0;
    for (uint32_t at = given->map; at < given->map + given->map_size && n < 32; n++) {
        const struct range *range = (void *)at;
        map[n].start = range->start;
        map[n].size = range->length;
        map[n].kind = range->kind;
        at += range->size + 4;
    }
    start.entries = n;
    start.map = (uint32_t)map;
    start.module = (uint32_t)&initrd;
    start.acpi = find_acpi();

    const struct elf *elf = (void *)COPIES;
    const struct segment *segment = (void *)(COPIES + (uint32_t)elf->headers);
    uint32_t entry = 0;
    for (int i = 0; i < elf->count; i++, segment++) {
        uint32_t at = COPIES + (uint32_t)segment->offset, to = segment->physical;
        if (segment->type == 4 && !entry)
            entry = entry_of(at, segment->in_file);
        if (segment->type != 1)
            continue;
        copy(to, at, segment->in_file);
        zero(to + (uint32_t)segment->in_file, segment->in_memory - segment->in_file);
    }
    if (!entry)
        fail("pvh: Linux has no PVH entry\n");
    enter(entry, &start);
}
