/* libxml2 parses a generated document again and again; the last few trees stay alive. SPDX: MIT OR Apache-2.0
 *
 *   --records N   records in the document (13000; each about 230 bytes)
 *   --parses N    times it is parsed (22)
 *   --keep N      trees alive at once (6)
 *   --mutate N    the document is parsed in pieces of 4 KiB, and after each N times the first record of a random tree
 *                 is moved to its end, and the first child of that record to the record's end: some ten pointer
 *                 stores (0)
 *
 * The collected variant gives libxml2 GC_malloc, GC_realloc, a GC_strdup and a free that does nothing; the malloc
 * variant its own functions only where they are timed.
 */
#include "bench.h"
#include <libxml/parser.h>
#include <libxml/tree.h>

static char *document;
static size_t document_length;

static void generate(long records) {
    size_t room = (size_t)records * 320 + 100;
    document = bench_checked(malloc(room), room);
    uint64_t random = 88172645463325252u;
    char *out = document;
    out += sprintf(out, "<?xml version=\"1.0\"?>\n<catalogue>\n");
    for (long k = 0; k < records; k++) {
        unsigned r = (unsigned)(bench_random(&random) >> 32);
        out += sprintf(out,
                       "  <item id=\"i%ld\" kind=\"%s\" rank=\"%u\">\n"
                       "    <name>part number %u of the %ldth series</name>\n"
                       "    <price currency=\"EUR\">%u.%02u</price>\n"
                       "    <note>cut &amp; dried; <b>%s</b> since %u</note>\n"
                       "  </item>\n",
                       k, r & 1 ? "screw" : "washer", r % 1000, r, k / 7, r % 997, r % 100,
                       r & 2 ? "in stock" : "on order from the works", 1900 + r % 120);
    }
    out += sprintf(out, "</catalogue>\n");
    document_length = (size_t)(out - document);
}

static uint64_t walk(const xmlNode *n) {
    uint64_t sum = 0;
    for (; n; n = n->next) {
        PROBE_TICK();
        sum = bench_mix(sum, (uint64_t)n->type);
        if (n->type == XML_TEXT_NODE && n->content) sum = bench_mix(sum, n->content[0]);
        if (n->type == XML_ELEMENT_NODE) {
            for (const xmlAttr *a = n->properties; a; a = a->next) sum = bench_mix(sum, a->name[0]);
            sum = bench_mix(sum, walk(n->children));
        }
    }
    return sum;
}

static xmlDoc *kept[64];
static uint64_t keep, mutate, mutation_random;

/* Moves the first child to the end, whatever it is; xmlAddChild would merge texts. */
static void rotate(xmlNode *parent) {
    xmlNode *first = parent->children, *last = parent->last;
    if (!first || first == last) return;
    parent->children = first->next;
    first->next->prev = NULL;
    last->next = first;
    first->prev = last;
    first->next = NULL;
    parent->last = first;
}

static void rotate_somewhere(void) {
    xmlDoc *doc = kept[bench_random(&mutation_random) % keep];
    if (!doc) return;
    xmlNode *root = xmlDocGetRootElement(doc);
    rotate(root);
    if (root->last->type == XML_ELEMENT_NODE) rotate(root->last);
}

/* The document, parsed piece by piece, and trees mutated in between. NULL if it is not well-formed. */
static xmlDoc *parse_in_pieces(void) {
    const size_t piece = 4096;
    xmlParserCtxt *parser = xmlCreatePushParserCtxt(NULL, NULL, NULL, 0, "generated.xml");
    if (!parser) return NULL;
    for (size_t at = 0; at < document_length; at += piece) {
        size_t n = document_length - at < piece ? document_length - at : piece;
        xmlParseChunk(parser, document + at, (int)n, 0);
        for (uint64_t k = 0; k < mutate; k++) {
            rotate_somewhere();
            PROBE_TICK();
        }
    }
    xmlParseChunk(parser, NULL, 0, 1);
    xmlDoc *doc = parser->wellFormed ? parser->myDoc : NULL;
    xmlFreeParserCtxt(parser);
    return doc;
}

#if defined(COLLECTED) || defined(GC_FREEING) || defined(PROBES)
#define HOOKS 1
#if defined(COLLECTED) || defined(GC_FREEING)
#define RAW_MALLOC GC_malloc
#define RAW_REALLOC GC_realloc
#else
#define RAW_MALLOC malloc
#define RAW_REALLOC realloc
#endif
static void *xml_malloc(size_t n) { return PROBE_TIMED(RAW_MALLOC(n)); }
static void *xml_realloc(void *p, size_t n) { return PROBE_TIMED(RAW_REALLOC(p, n)); }
static char *xml_strdup(const char *s) {
    size_t n = strlen(s) + 1;
    char *copy = ALLOC_ATOMIC(n);
    return memcpy(copy, s, n);
}
static void xml_free(void *p) { FREE(p); }
#endif

int main(int argc, char **argv) {
    long records = bench_option(argc, argv, "--records", 13000);
    long parses = bench_option(argc, argv, "--parses", 22);
    keep = (uint64_t)bench_option(argc, argv, "--keep", 6);
    mutate = (uint64_t)bench_option(argc, argv, "--mutate", 0);
    if (keep < 1 || keep > 64 || mutate > 1000) {
        fprintf(stderr, "xml: --keep is 1 to 64 and --mutate at most 1000\n");
        return 2;
    }
    bench_init(argc, argv);
    mutation_random = 88172645463325252u;
#ifdef HOOKS
    if (xmlMemSetup(xml_free, xml_malloc, xml_realloc, xml_strdup)) {
        fprintf(stderr, "xml: xmlMemSetup refused the functions\n");
        return 2;
    }
#endif
    xmlInitParser();
    generate(records);
    uint64_t checksum = 0;
    bench_start();
    probe_begin();
    for (long k = 0; k < parses; k++) {
        xmlDoc **slot = &kept[(uint64_t)k % keep];
        xmlDoc *doc =
            mutate ? parse_in_pieces() : xmlReadMemory(document, (int)document_length, "generated.xml", NULL, 0);
        if (!doc) {
            fprintf(stderr, "xml: the generated document was not parsed\n");
            return 2;
        }
        checksum = bench_mix(checksum, walk(xmlDocGetRootElement(doc)));
        if (HAS_FREE && *slot) xmlFreeDoc(*slot);
        *slot = doc;
    }
    probe_end();
    bench_stop();
    for (uint64_t k = 0; k < keep; k++)
        if (kept[k]) checksum = bench_mix(checksum, walk(xmlDocGetRootElement(kept[k])));
    bench_start();
    for (uint64_t k = 0; HAS_FREE && k < keep; k++)
        if (kept[k]) xmlFreeDoc(kept[k]);
    bench_stop();
    bench_report("xml", checksum);
    return 0;
}
