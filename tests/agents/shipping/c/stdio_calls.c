/* Every function of the standard I/O library that is replaced, on standard input and output: compiled with one library
 * and with the other it must write the same. The argument chooses what it does. Not a test by itself. */
#include <stdio.h>
#include <string.h>

static int by_character(void)
{
    int c;
    while ((c = getchar()) != EOF)
        if (putchar(c) == EOF)
            return 1;
    return !feof(stdin) || ferror(stdin);
}

static int by_function(void)
{
    int c;
    while ((c = fgetc(stdin)) != EOF)
        if (fputc(c, stdout) != c)
            return 1;
    return getc(stdin) != EOF;
}

/* Lines of at most 16 bytes, each behind its length. */
static int by_line(void)
{
    char line[17];
    while (fgets(line, sizeof line, stdin))
        printf("%zu:%s|", strlen(line), line);
    return 0;
}

static int by_block(void)
{
    char block[777];
    size_t got;
    while ((got = fread(block, 7, sizeof block / 7, stdin)) > 0)
        if (fwrite(block, 7, got, stdout) != got)
            return 1;
    return !feof(stdin);
}

/* Every byte is read, put back, read again; after the end, too. */
static int put_back(void)
{
    int c, last = 'x';
    if (ungetc('!', stdin) != '!' || getc(stdin) != '!') /* before anything was read */
        return 1;
    while ((c = getc(stdin)) != EOF) {
        if (ungetc(c, stdin) != c || getc(stdin) != c || ungetc(c ^ 1, stdin) != (c ^ 1) || getc(stdin) != (c ^ 1))
            return 1;
        putc(last = c, stdout);
    }
    if (!feof(stdin) || ungetc(last, stdin) != last || feof(stdin) || ungetc(EOF, stdin) != EOF)
        return 1;
    c = getc(stdin);
    printf("%d %d\n", c, getc(stdin));
    clearerr(stdin);
    return feof(stdin) || getc(stdin) != EOF || !feof(stdin);
}

static int formatted(void)
{
    static char wide[4000];
    unsigned long sum = 0, count = 0;
    for (int c; (c = getc(stdin)) != EOF; count++)
        sum = sum * 31 + (unsigned)c;
    memset(wide, 'w', sizeof wide - 1);
    int written = printf("%lu %lu %s\n", count, sum, wide);
    written += fprintf(stdout, "%5d|%-8s|%.3f|%c\n", 42, "left", 2.5, 'c');
    fputs("text without end of line", stdout);
    puts("");
    return fflush(stdout) || printf("%d\n", written) < 0 || fflush(NULL);
}

static int wrong_way(void)
{
    int first = putc('x', stdin), second = getc(stdout);
    printf("%d %d %d %d\n", first == EOF, second == EOF, ferror(stdin) != 0, ferror(stdout) != 0);
    clearerr(stdin);
    clearerr(stdout);
    printf("%d %d\n", ferror(stdin) != 0, ferror(stdout) != 0);
    return fopen("/nowhere/at/all", "r") != NULL || fopen("x", "?") != NULL;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } ways[] = {{"character", by_character}, {"function", by_function}, {"line", by_line},       {"block", by_block},
                {"put_back", put_back},      {"formatted", formatted},  {"wrong_way", wrong_way}};
    for (size_t i = 0; argc == 2 && i < sizeof ways / sizeof *ways; i++)
        if (strcmp(ways[i].name, argv[1]) == 0)
            return ways[i].run();
    fprintf(stderr, "usage: %s WAY\n", argv[0]);
    return 2;
}
