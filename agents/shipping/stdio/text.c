/* Characters, lines, blocks and formatted text, all made from a stream's bytes. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stream.h"

int cs_fgetc(CS_FILE *f)
{
    return CS_GETC(f);
}

int cs_fputc(int c, CS_FILE *f)
{
    return CS_PUTC(c, f);
}

/* In front of what is read next: in its container, which is ours, or where there is nothing before it, aside. */
int cs_ungetc(int c, CS_FILE *f)
{
    if (c == EOF || f->writes)
        return EOF;
    if (!f->aside && f->next == f->first) {
        f->aside = true;
        f->aside_next = f->next;
        f->aside_readable = f->readable;
        f->next = f->readable = f->pushed + sizeof f->pushed;
    }
    if (f->next == f->pushed)
        return EOF;
    *--f->next = (unsigned char)c;
    f->at_end = false;
    return *f->next;
}

/* A byte more than what can be had at once, or EOF: for those who take many. */
static bool more(CS_FILE *f)
{
    if (f->next < f->readable)
        return true;
    if (cs_fill(f) == EOF)
        return false;
    f->next--;
    return true;
}

char *cs_fgets(char *to, int size, CS_FILE *f)
{
    char *next = to;
    if (size <= 0) {
        errno = EINVAL;
        return NULL;
    }
    bool line = false;
    for (size_t left = (size_t)size - 1; left > 0 && !line && more(f);) {
        size_t now = (size_t)(f->readable - f->next) < left ? (size_t)(f->readable - f->next) : left;
        const unsigned char *end = memchr(f->next, '\n', now);
        if (end) {
            line = true;
            now = (size_t)(end + 1 - f->next);
        }
        memcpy(next, f->next, now);
        f->next += now;
        next += now;
        left -= now;
    }
    *next = 0;
    return (next == to && size > 1) || f->failed ? NULL : to;
}

size_t cs_fread(void *to, size_t size, size_t count, CS_FILE *f)
{
    size_t bytes, left;
    if (__builtin_mul_overflow(size, count, &bytes) || bytes == 0) {
        errno = bytes ? EOVERFLOW : errno;
        return 0;
    }
    unsigned char *next = to;
    for (left = bytes; left > 0 && more(f);) {
        size_t now = (size_t)(f->readable - f->next) < left ? (size_t)(f->readable - f->next) : left;
        memcpy(next, f->next, now);
        f->next += now;
        next += now;
        left -= now;
    }
    return (bytes - left) / size;
}

size_t cs_fwrite(const void *from, size_t size, size_t count, CS_FILE *f)
{
    size_t bytes;
    if (__builtin_mul_overflow(size, count, &bytes)) {
        cs_stream_fail(f, EOVERFLOW);
        return 0;
    }
    return cs_stream_put(f, from, bytes) < 0 ? 0 : count;
}

int cs_fputs(const char *text, CS_FILE *f)
{
    return cs_stream_put(f, text, strlen(text));
}

int cs_puts(const char *text)
{
    return cs_fputs(text, &cs_standard[1]) < 0 ? EOF : cs_spill('\n', &cs_standard[1]);
}

int cs_vfprintf(CS_FILE *f, const char *format, va_list arguments)
{
    char small[512], *text = small;
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(small, sizeof small, format, arguments);
    if (length >= (int)sizeof small) {
        text = malloc((size_t)length + 1);
        length = text ? vsnprintf(text, (size_t)length + 1, format, again) : cs_stream_fail(f, ENOMEM);
    }
    va_end(again);
    if (length > 0 && cs_stream_put(f, text, (size_t)length) < 0)
        length = EOF;
    if (text != small)
        free(text);
    return length;
}

int cs_fprintf(CS_FILE *f, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = cs_vfprintf(f, format, arguments);
    va_end(arguments);
    return length;
}

int cs_printf(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = cs_vfprintf(&cs_standard[1], format, arguments);
    va_end(arguments);
    return length;
}
