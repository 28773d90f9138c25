/* The standard I/O library over Container Shipping (CS95-441, section 4): a program that reads and writes a
 * character at a time is compiled again, unchanged, and no block is copied between it and the manager. getc and putc are
 * macros over the mapped container, which is freed when it was read and given away when it is full.
 *
 * With the folder replace/ on the include path every <stdio.h> is this one; or -include this file. What a stream
 * is connected to, and what the environment says about it: docs/stdio.md. One thread at a time. */
#ifndef CS_STDIO_H
#define CS_STDIO_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

typedef struct cs_stream {
    /* What the macros need. Reading: [next, readable) can be had at once; writing: [next, writable) has room. */
    unsigned char *next, *readable, *writable;

    unsigned char *first, *end; /* of the bytes that were read, or of the room */
    unsigned char *aside_next, *aside_readable; /* what goes on behind the bytes that were pushed back */
    unsigned char pushed[4];
    int fd, container; /* container 0: none */
    enum cs_stream_kind {
        CS_STREAM_UNDECIDED,
        CS_STREAM_KERNEL,
        CS_STREAM_CHANNEL,
        CS_STREAM_FILE,
        CS_STREAM_FAILED,
    } kind;
    bool writes, ours, line, unbuffered, aside, at_end, failed;
    struct cs_stream *others;
} CS_FILE;

extern CS_FILE cs_standard[3];

CS_FILE *cs_fopen(const char *path, const char *mode);
CS_FILE *cs_fdopen(int fd, const char *mode);
int cs_fclose(CS_FILE *f);
int cs_fflush(CS_FILE *f);
int cs_fileno(CS_FILE *f);
/* The next byte, or the next byte's place, when the container has no more. */
int cs_fill(CS_FILE *f);
int cs_spill(int c, CS_FILE *f);
int cs_fgetc(CS_FILE *f);
int cs_fputc(int c, CS_FILE *f);
int cs_ungetc(int c, CS_FILE *f);
char *cs_fgets(char *to, int size, CS_FILE *f);
size_t cs_fread(void *to, size_t size, size_t count, CS_FILE *f);
size_t cs_fwrite(const void *from, size_t size, size_t count, CS_FILE *f);
int cs_fputs(const char *text, CS_FILE *f);
int cs_puts(const char *text);
int cs_vfprintf(CS_FILE *f, const char *format, va_list arguments);
__attribute__((format(printf, 2, 3))) int cs_fprintf(CS_FILE *f, const char *format, ...);
__attribute__((format(printf, 1, 2))) int cs_printf(const char *format, ...);

#define CS_GETC(f) ((f)->next < (f)->readable ? *(f)->next++ : cs_fill(f))
#define CS_PUTC(c, f) ((f)->next < (f)->writable ? (*(f)->next++ = (unsigned char)(c)) : cs_spill((c), (f)))

/* The names of ISO C for the above. */
#define FILE CS_FILE
#undef stdin
#undef stdout
#undef stderr
#define stdin (&cs_standard[0])
#define stdout (&cs_standard[1])
#define stderr (&cs_standard[2])
#undef getc
#undef putc
#undef getchar
#undef putchar
#undef getc_unlocked
#undef putc_unlocked
#undef getchar_unlocked
#undef putchar_unlocked
#define getc(f) CS_GETC(f)
#define putc(c, f) CS_PUTC(c, f)
#define getchar() CS_GETC(stdin)
#define putchar(c) CS_PUTC(c, stdout)
#define getc_unlocked(f) CS_GETC(f)
#define putc_unlocked(c, f) CS_PUTC(c, f)
#define getchar_unlocked() CS_GETC(stdin)
#define putchar_unlocked(c) CS_PUTC(c, stdout)
#undef feof
#undef ferror
#undef clearerr
#define feof(f) ((f)->at_end)
#define ferror(f) ((f)->failed)
#define clearerr(f) ((void)((f)->at_end = (f)->failed = false))
#define fopen cs_fopen
#define fdopen cs_fdopen
#define fclose cs_fclose
#define fflush cs_fflush
#undef fileno
#define fileno cs_fileno
#define fgetc cs_fgetc
#define fputc cs_fputc
#define ungetc cs_ungetc
#define fgets cs_fgets
#define fread cs_fread
#define fwrite cs_fwrite
#define fputs cs_fputs
#define puts cs_puts
#define printf(...) cs_printf(__VA_ARGS__) /* not in __attribute__((format(printf, ...))) */
#define fprintf cs_fprintf
#define vfprintf cs_vfprintf
#define vprintf(format, arguments) cs_vfprintf(stdout, format, arguments)

/* What this library has not must not be taken from the other one, whose streams these are not. */
#pragma GCC poison fseek fseeko ftell ftello rewind fgetpos fsetpos freopen setbuf setvbuf tmpfile popen pclose
#pragma GCC poison scanf fscanf vscanf vfscanf getline getdelim fmemopen open_memstream

#endif
