// gcc: -O2
// gcc: -O2 -m32
/* Threads with atomics, mutexes, condition variables, barriers, thread-local storage; counts that come out the same in any order. */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "random.h"

enum { THREADS = 6, ROUNDS = 3000, QUEUE = 16 };

static atomic_int counter;
static atomic_ullong wide, bits, least = ~0ull;
static atomic_uchar narrow;
static long under_mutex, under_spin, queue[QUEUE], taken_sum;
static int head, tail, peak;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER, not_full = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_spinlock_t spin;
static sem_t semaphore;
static __thread int own;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int initialized, torn;
static struct { long a, b; } pair;

static void initialize(void) { initialized++; }

static void *work(void *argument) {
  long id = (long)argument;
  pthread_once(&once, initialize);
  for (int i = 0; i < ROUNDS; i++) {
    atomic_fetch_add(&counter, 1);
    atomic_fetch_add(&wide, 0x100000001ull);
    atomic_fetch_xor(&bits, 1ull << ((id * 11 + i) % 64));
    atomic_fetch_sub(&narrow, 3);
    unsigned long long seen = least, mine = (unsigned long long)(i * 7919 % 1009 + id + 1);
    while (mine < seen && !atomic_compare_exchange_weak(&least, &seen, mine)) {}
    own += (int)id;
    if (i % 8 == 0) {
      pthread_mutex_lock(&lock);
      under_mutex++;
      pthread_mutex_unlock(&lock);
      pthread_spin_lock(&spin);
      under_spin += 2;
      pthread_spin_unlock(&spin);
    }
    if (i % 16 == 0) {
      pthread_rwlock_wrlock(&rwlock);
      pair.a++, pair.b--;
      pthread_rwlock_unlock(&rwlock);
    } else if (i % 16 == 5) {
      pthread_rwlock_rdlock(&rwlock);
      if (pair.a != -pair.b) torn++;
      pthread_rwlock_unlock(&rwlock);
    }
  }
  pthread_barrier_wait(&barrier);
  if (counter != THREADS * ROUNDS) torn += 1000;
  // Half of them put numbers into a queue, half take them out.
  for (int i = 0; i < 400; i++) {
    pthread_mutex_lock(&lock);
    if (id % 2) {
      while (head - tail == QUEUE) pthread_cond_wait(&not_full, &lock);
      queue[head++ % QUEUE] = id * 1000 + i;
      if (head - tail > peak) peak = head - tail;
      pthread_cond_signal(&not_empty);
    } else {
      while (head == tail) pthread_cond_wait(&not_empty, &lock);
      taken_sum += queue[tail++ % QUEUE];
      pthread_cond_signal(&not_full);
    }
    pthread_mutex_unlock(&lock);
  }
  sem_post(&semaphore);
  return (void *)(long)own;
}

/* Dekker's: without the fence's effect both could read 0 (a store is seen late by the other processor). */
static atomic_int flag[2];
static int saw[2];
static void *store_then_load(void *argument) {
  long id = (long)argument;
  pthread_barrier_wait(&barrier);
  atomic_store(&flag[id], 1);
  saw[id] = atomic_load(&flag[1 - id]);
  return NULL;
}

int main(void) {
  pthread_t threads[THREADS];
  pthread_barrier_init(&barrier, NULL, THREADS);
  pthread_spin_init(&spin, 0);
  sem_init(&semaphore, 0, 0);
  for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, (void *)i);
  for (int i = 0; i < THREADS; i++) sem_wait(&semaphore);
  for (int i = 0; i < THREADS; i++) {
    void *result;
    pthread_join(threads[i], &result);
    printf("thread %d: %ld\n", i, (long)result);
  }
  printf("%d %llx %llx %d %llu %ld %ld %ld %d %d %ld\n", counter, (unsigned long long)wide, (unsigned long long)bits, narrow, (unsigned long long)least,
         under_mutex, under_spin, taken_sum, initialized, torn, pair.a);
  pthread_barrier_init(&barrier, NULL, 2);
  int both = 0;
  for (int i = 0; i < 150; i++) {
    flag[0] = flag[1] = 0;
    for (long j = 0; j < 2; j++) pthread_create(&threads[j], NULL, store_then_load, (void *)j);
    for (int j = 0; j < 2; j++) pthread_join(threads[j], NULL);
    both += !saw[0] && !saw[1];
  }
  printf("both stores unseen: %d\n", both);
  return 0;
}
