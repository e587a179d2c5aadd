/*
 * fsx FILE OPERATIONS SEED [maps]: random operations on one file, each checked against a copy in memory: writes, reads, truncations, with
 * `maps` mapped reads and writes, reopening, renaming while open, dropping what the kernel has cached. In the manner of the fsx that Apple wrote.
 * Prints "FILE: N operations, N bytes" or the first difference, and ends with status 1 then. cc -O2.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_BYTES = 1 << 18, MAX_TRANSFER = 1 << 16 };

static unsigned char good[MAX_BYTES], buffer[MAX_BYTES];
static size_t size;
static int file;
static char name[2][4096];
static int named;
static unsigned long operation, state;

static unsigned below(unsigned limit) {
  state = state * 6364136223846793005ul + 1442695040888963407ul;
  return (unsigned)((state >> 33) % limit);
}

static void wrong(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  printf("%s: operation %lu: ", name[named], operation);
  vprintf(format, arguments);
  putchar('\n');
  exit(1);
}

static void need(int condition, const char *what) {
  if (!condition) {
    perror(what);
    wrong("%s failed", what);
  }
}

static void compare(const char *what, const unsigned char *found, size_t offset, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (found[i] != good[offset + i]) {
      wrong("%s of %zu at %zu: byte %zu is %02x and should be %02x", what, count, offset, offset + i, found[i], good[offset + i]);
    }
  }
}

/* Sizes, as others see them. */
static void check_size(void) {
  struct stat seen;
  need(fstat(file, &seen) == 0, "fstat");
  if ((size_t)seen.st_size != size) wrong("fstat says %ld bytes, not %zu", (long)seen.st_size, size);
}

static void grow(size_t end) {
  if (end <= size) return;
  memset(good + size, 0, end - size);
  size = end;
}

static void fill(size_t offset, size_t count) {
  const unsigned char first = (unsigned char)operation;
  for (size_t i = 0; i < count; i++) good[offset + i] = (unsigned char)(first + i * 7 + below(3));
}

static void do_write(void) {
  const size_t offset = below(MAX_BYTES - MAX_TRANSFER), count = 1 + below(below(4) ? 5000 : MAX_TRANSFER);
  grow(offset + count);
  fill(offset, count);
  need(pwrite(file, good + offset, count, (off_t)offset) == (ssize_t)count, "write");
}

static void do_append(void) {
  const size_t count = 1 + below(3000);
  if (size + count > MAX_BYTES) return;
  const size_t offset = size;
  grow(offset + count);
  fill(offset, count);
  const int end = open(name[named], O_WRONLY | O_APPEND);
  need(end >= 0, "open for appending");
  need(write(end, good + offset, count) == (ssize_t)count, "append");
  need(close(end) == 0, "close");
}

static void do_read(void) {
  const size_t offset = below(MAX_BYTES), count = 1 + below(MAX_TRANSFER);
  const size_t there = offset >= size ? 0 : size - offset < count ? size - offset : count;
  const ssize_t found = pread(file, buffer, count, (off_t)offset);
  if (found != (ssize_t)there) wrong("a read of %zu at %zu gave %zd bytes, not %zu", count, offset, found, there);
  compare("read", buffer, offset, there);
}

static void do_truncate(void) {
  const size_t to = below(MAX_BYTES);
  need(ftruncate(file, (off_t)to) == 0, "ftruncate");
  if (to > size) grow(to);
  size = to;
}

static void do_map(int writing) {
  if (size == 0) return;
  const size_t offset = below((unsigned)size) & ~4095u, count = size - offset;
  unsigned char *map = mmap(0, count, writing ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file, (off_t)offset);
  need(map != MAP_FAILED, "mmap");
  compare("map", map, offset, count);
  if (writing) {
    const size_t length = 1 + below((unsigned)count);
    fill(offset, length);
    memcpy(map, good + offset, length);
    need(msync(map, count, MS_SYNC) == 0, "msync");
  }
  need(munmap(map, count) == 0, "munmap");
}

static void do_reopen(void) {
  need(close(file) == 0, "close");
  file = open(name[named], O_RDWR);
  need(file >= 0, "open");
}

static void do_rename(void) {
  need(rename(name[named], name[!named]) == 0, "rename");
  named = !named;
}

static void do_forget(void) {
  need(fsync(file) == 0, "fsync");
  need(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0, "posix_fadvise");
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  const unsigned long operations = strtoul(argv[2], 0, 10);
  const int maps = argc > 4;
  state = strtoul(argv[3], 0, 10);
  snprintf(name[0], sizeof name[0], "%s", argv[1]);
  snprintf(name[1], sizeof name[1], "%s.renamed", argv[1]);
  file = open(name[0], O_RDWR | O_CREAT | O_TRUNC, 0600);
  need(file >= 0, "open");
  for (operation = 1; operation <= operations; operation++) {
    const unsigned what = below(32);
    if (what < 9) do_write();
    else if (what < 11) do_append();
    else if (what < 20) do_read();
    else if (what < 23) do_truncate();
    else if (what < 25) do_reopen();
    else if (what < 26) do_rename();
    else if (what < 28) do_forget();
    else if (maps) do_map(what >= 30);
    check_size();
  }
  do_reopen();
  need(pread(file, buffer, sizeof buffer, 0) == (ssize_t)size, "the last read");
  compare("the last read", buffer, 0, size);
  printf("%s: %lu operations, %zu bytes\n", argv[1], operations, size);
  return 0;
}
