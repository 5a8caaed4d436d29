/*
 * The mix that benchmarks of small processors use: a linked list that is searched, reversed and sorted, products of
 * integer matrices, a state machine that reads numbers, and a CRC-16 over the results.
 */
#include "bench.h"

#define ITEMS 64
#define M 12

struct item {
  struct item *next;
  int16_t value, index;
};

static uint16_t crc16(uint16_t crc, uint32_t value) {
  for (int i = 0; i < 16; i++, value >>= 1) crc = (crc ^ value) & 1 ? crc >> 1 ^ 0xa001 : crc >> 1;
  return crc;
}

static int by_value(const struct item *a, const struct item *b) { return a->value - b->value; }
static int by_index(const struct item *a, const struct item *b) { return a->index - b->index; }

static struct item *merge_sort(struct item *list, int (*compare)(const struct item *, const struct item *)) {
  if (list == NULL || list->next == NULL) return list;
  struct item *slow = list, *fast = list->next;
  while (fast != NULL && fast->next != NULL) slow = slow->next, fast = fast->next->next;
  struct item *right = merge_sort(slow->next, compare);
  slow->next = NULL;
  struct item *left = merge_sort(list, compare), *head = NULL, **tail = &head;
  while (left != NULL && right != NULL) {
    struct item **from = compare(left, right) <= 0 ? &left : &right;
    *tail = *from;
    tail = &(*from)->next;
    *from = (*from)->next;
  }
  *tail = left != NULL ? left : right;
  return head;
}

static uint16_t lists(uint32_t *random, uint16_t crc) {
  static struct item items[ITEMS];
  for (int i = 0; i < ITEMS; i++)
    items[i] = (struct item){i + 1 < ITEMS ? &items[i + 1] : NULL, (int16_t)(next_random(random) & 0x7fff), (int16_t)i};
  struct item *head = merge_sort(items, by_value);
  for (int find = 0; find < ITEMS; find += 8) {
    struct item *at = head;
    while (at != NULL && at->index != find) at = at->next;
    crc = crc16(crc, at->value);
  }
  struct item *reversed = NULL;
  while (head != NULL) {
    struct item *next = head->next;
    head->next = reversed;
    reversed = head;
    head = next;
  }
  crc = crc16(crc, reversed->value);
  return crc16(crc, merge_sort(reversed, by_index)->value);
}

static uint16_t matrices(uint32_t *random, uint16_t crc) {
  static int16_t a[M][M], b[M][M];
  static int32_t c[M][M];
  for (int i = 0; i < M; i++)
    for (int k = 0; k < M; k++) a[i][k] = next_random(random) & 1023, b[i][k] = next_random(random) & 1023;
  uint32_t sum = 0;
  for (int i = 0; i < M; i++)
    for (int k = 0; k < M; k++) {
      int32_t value = 0;
      for (int j = 0; j < M; j++) value += a[i][j] * b[j][k];
      c[i][k] = value;
      sum += (value >> 2 & 15) * (value >> 5 & 127);
    }
  return crc16(crc16(crc, sum), c[M - 1][0]);
}

static uint16_t numbers(uint32_t *random, uint16_t crc) {
  static const char letters[] = "0123456789+-.eE, ,x1";
  enum { START, SIGN, INTEGER, POINT, FRACTION, EXPONENT, DIGITS, INVALID } state = START;
  uint32_t counts[8] = {0};
  for (int i = 0; i < 512; i++) {
    char c = letters[next_random(random) % 20];
    int digit = c >= '0' && c <= '9';
    if (c == ',' || c == ' ') {
      counts[state]++;
      state = START;
      continue;
    }
    switch (state) {
      case START: state = digit ? INTEGER : c == '+' || c == '-' ? SIGN : c == '.' ? POINT : INVALID; break;
      case SIGN: state = digit ? INTEGER : c == '.' ? POINT : INVALID; break;
      case INTEGER: state = digit ? INTEGER : c == '.' ? FRACTION : c == 'e' || c == 'E' ? EXPONENT : INVALID; break;
      case POINT: state = digit ? FRACTION : INVALID; break;
      case FRACTION: state = digit ? FRACTION : c == 'e' || c == 'E' ? EXPONENT : INVALID; break;
      case EXPONENT: state = digit || c == '+' || c == '-' ? DIGITS : INVALID; break;
      case DIGITS: state = digit ? DIGITS : INVALID; break;
      case INVALID: break;
    }
  }
  for (int i = 0; i < 8; i++) crc = crc16(crc, counts[i]);
  return crc;
}

uint64_t bench_coremix(void) {
  uint32_t random = 1;
  uint16_t crc = 0;
  for (int i = 0; i < 6000; i++) {
    crc = lists(&random, crc);
    crc = matrices(&random, crc);
    crc = numbers(&random, crc);
  }
  return crc;
}
