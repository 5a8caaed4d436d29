/*
 * The frame around the programs. As the guest's first process it runs those named in its argument (separated by commas)
 * each in a process of its own, with marks on the console, then ends the machine; otherwise it runs one and says how
 * long it took by CLOCK_MONOTONIC. `-l` lists them.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct program {
  const char *name;
  const char *group;
  uint64_t (*run)(void);
} programs[] = {
#define COMPUTE(name) {#name, "compute", bench_##name},
#define SYSTEM(name) {#name, "system", bench_##name},
    COMPUTE_PROGRAMS(COMPUTE) SYSTEM_PROGRAMS(SYSTEM)};
#define COUNT (sizeof programs / sizeof programs[0])

void *need(size_t bytes) {
  void *memory = malloc(bytes);
  if (memory == NULL) {
    fprintf(stderr, "no memory for %zu bytes\n", bytes);
    exit(1);
  }
  return memory;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static int run_one(const char *name) {
  for (size_t i = 0; i < COUNT; i++) {
    if (strcmp(programs[i].name, name) != 0) continue;
    double start = now();
    uint64_t sum = programs[i].run();
    printf("@result %s %.6f %016llx\n", name, now() - start, (unsigned long long)sum);
    return 0;
  }
  fprintf(stderr, "no program '%s'\n", name);
  return 2;
}

static void first_process(char *list) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (char *name = strtok(list, ","); name != NULL; name = strtok(NULL, ",")) {
    printf("@begin %s\n", name);
    pid_t child = fork();
    if (child == 0) {
      execl("/bench", "bench", name, (char *)NULL);
      _exit(127);
    }
    int status = -1;
    waitpid(child, &status, 0);
    printf("@end %s %d\n", name, WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status));
  }
  printf("@done\n");
  sync();
  reboot(RB_AUTOBOOT);
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "-l") == 0) {
    for (size_t i = 0; i < COUNT; i++) printf("%s %s\n", programs[i].group, programs[i].name);
    return 0;
  }
  if (argc != 2) {
    fprintf(stderr, "usage: %s PROGRAM | -l\n", argv[0]);
    return 2;
  }
  if (getpid() == 1) first_process(argv[1]);
  return run_one(argv[1]);
}
