/*
 * The first process of the guest for whole programs: loads the modules of its initramfs, mounts Debian's disk without
 * ever writing to it, and runs the commands of /list there, each with marks on the console. A line of /list is a name,
 * a kind, a command that is not timed and a command that is, separated by tabs. Kind `time`: the result is how long the
 * command took, by CLOCK_MONOTONIC. Kind `speed`: the first line that the command writes is the result, in seconds.
 * The sum is FNV-1a over (the rest of) what the command writes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what) {
  perror(what);
  sleep(1);
  reboot(RB_AUTOBOOT);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

/* Modules are /modules/00-NAME.ko and so on, already in the order in which they must be loaded. */
static void load_modules(void) {
  FILE *order = fopen("/modules/order", "r");
  char path[256];
  while (order != NULL && fscanf(order, "%255s", path) == 1) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || syscall(SYS_finit_module, file, "", 0) != 0) fprintf(stderr, "%s: %m\n", path);
    close(file);
  }
}

static void mount_disk(void) {
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  for (int i = 0; access("/dev/vda", F_OK) != 0; i++) {
    if (i == 100) die("/dev/vda");
    usleep(100000);
  }
  if (mount("/dev/vda", "/disk", "ext4", MS_RDONLY, "noload") != 0) die("mount /dev/vda");
  mount("tmp", "/disk/tmp", "tmpfs", 0, NULL);
  mount("proc", "/disk/proc", "proc", 0, NULL);
  mount("/dev", "/disk/dev", NULL, MS_BIND, NULL);
  if (mount("/data", "/disk/mnt", NULL, MS_BIND, NULL) != 0) die("mount /data");
  if (chroot("/disk") != 0 || chdir("/tmp") != 0) die("chroot");
}

/* Runs a command by the shell; its output goes to /tmp/.out. Returns its exit status. */
static int shell(const char *command) {
  pid_t child = fork();
  if (child == 0) {
    int out = open("/tmp/.out", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(open("/dev/null", O_RDONLY), 0);
    dup2(out, 1);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static uint64_t sum_of_output(double *seconds) {
  FILE *out = fopen("/tmp/.out", "r");
  uint64_t sum = 0xcbf29ce484222325ull;
  if (out == NULL) return 0;
  if (seconds != NULL && fscanf(out, "%lf", seconds) != 1) *seconds = 0;
  for (int c; (c = getc(out)) != EOF;) sum = (sum ^ c) * 0x100000001b3ull;
  fclose(out);
  return sum;
}

int main(void) {
  static char line[8192];
  setvbuf(stdout, NULL, _IOLBF, 0);
  FILE *list = fopen("/list", "re");
  if (list == NULL) die("/list");
  load_modules();
  mount_disk();
  setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
  setenv("LC_ALL", "C", 1);
  setenv("HOME", "/tmp", 1);
  while (fgets(line, sizeof line, list) != NULL) {
    line[strcspn(line, "\n")] = 0;
    char *rest = line;
    const char *name = strsep(&rest, "\t"), *kind = strsep(&rest, "\t"), *before = strsep(&rest, "\t");
    if (rest == NULL) continue;
    shell(before);
    printf("@begin %s\n", name);
    double start = now();
    int status = shell(rest);
    double seconds = now() - start;
    uint64_t sum = sum_of_output(strcmp(kind, "speed") == 0 ? &seconds : NULL);
    printf("@result %s %.6f %016llx\n", name, seconds, (unsigned long long)sum);
    printf("@end %s %d\n", name, status);
  }
  printf("@done\n");
  reboot(RB_AUTOBOOT);
}
