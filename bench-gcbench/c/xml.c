/* libxml2 parses a generated document again and again; the last few trees stay alive. SPDX: MIT OR Apache-2.0
 *
 *   --records N   records in the document (13000; each about 230 bytes)
 *   --parses N    times it is parsed (22)
 *   --keep N      trees alive at once (6)
 *
 * The collected variant gives libxml2 GC_malloc, GC_realloc, a GC_strdup and a free that does nothing.
 */
#include "bench.h"
#include <libxml/parser.h>
#include <libxml/tree.h>

#if defined(COLLECTED) || defined(GC_FREEING)
static void *xml_malloc(size_t n) { return GC_malloc(n); }
static void *xml_realloc(void *p, size_t n) { return GC_realloc(p, n); }
static char *xml_strdup(const char *s) {
    size_t n = strlen(s) + 1;
    char *copy = ALLOC_ATOMIC(n);
    return memcpy(copy, s, n);
}
static void xml_free(void *p) { FREE(p); }
#endif

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

int main(int argc, char **argv) {
    long records = bench_option(argc, argv, "--records", 13000);
    long parses = bench_option(argc, argv, "--parses", 22);
    long keep = bench_option(argc, argv, "--keep", 6);
    if (keep < 1 || keep > 64) {
        fprintf(stderr, "xml: --keep is 1 to 64\n");
        return 2;
    }
    bench_init();
#if defined(COLLECTED) || defined(GC_FREEING)
    if (xmlMemSetup(xml_free, xml_malloc, xml_realloc, xml_strdup)) {
        fprintf(stderr, "xml: xmlMemSetup refused the collector's functions\n");
        return 2;
    }
#endif
    xmlInitParser();
    generate(records);
    uint64_t checksum = 0;
    bench_start();
    for (long k = 0; k < parses; k++) {
        xmlDoc *doc = xmlReadMemory(document, (int)document_length, "generated.xml", NULL, 0);
        if (!doc) {
            fprintf(stderr, "xml: the generated document was not parsed\n");
            return 2;
        }
        checksum = bench_mix(checksum, walk(xmlDocGetRootElement(doc)));
        if (HAS_FREE && kept[k % keep]) xmlFreeDoc(kept[k % keep]);
        kept[k % keep] = doc;
    }
    bench_stop();
    for (long k = 0; k < keep; k++)
        if (kept[k]) checksum = bench_mix(checksum, walk(xmlDocGetRootElement(kept[k])));
    bench_start();
    for (long k = 0; HAS_FREE && k < keep; k++)
        if (kept[k]) xmlFreeDoc(kept[k]);
    bench_stop();
    bench_report("xml", checksum);
    return 0;
}
