/* Counts lines, words and bytes, a character at a time, as programs did before anybody thought of containers. It knows
 * nothing of them. Words are what white space of ASCII divides. */
#include <stdio.h>
#include <stdlib.h>

static int count(FILE *f, const char *name)
{
    unsigned long lines = 0, words = 0, bytes = 0;
    int c, in_word = 0;
    while ((c = getc(f)) != EOF) {
        bytes++;
        if (c == '\n')
            lines++;
        if (c == ' ' || (c >= '\t' && c <= '\r'))
            in_word = 0;
        else if (!in_word) {
            in_word = 1;
            words++;
        }
    }
    if (ferror(f)) {
        perror(name);
        return 1;
    }
    printf("%lu %lu %lu\n", lines, words, bytes);
    return 0;
}

int main(int argc, char **argv)
{
    int failed = argc < 2 ? count(stdin, "standard input") : 0;
    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "r");
        if (!f) {
            perror(argv[i]);
            failed = 1;
            continue;
        }
        failed |= count(f, argv[i]);
        fclose(f);
    }
    return failed || fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
