// gcc: -O2 -march=x86-64-v3
// gcc: -O0 -march=x86-64-v3
// gcc: -O2 -march=x86-64-v2
// gcc: -O2 -march=x86-64-v3 -m32
/* Intrinsics of SSE to SSE4.2, and of AVX2, FMA, F16C, BMI where the options allow them, over random vectors: one hash a function. */
#include <immintrin.h>
#include <stdio.h>
#include "random.h"

enum { ROUNDS = 300 };

static void fill(void *to, int bytes) {
  char *p = to;
  for (int i = 0; i < bytes; i += 8) {
    uint64_t r = random_edge();
    memcpy(p + i, &r, 8);
  }
}
static void fill_doubles(void *to, int bytes) {
  double *p = to;
  for (int i = 0; i < bytes / 8; i++) p[i] = random_double();
}
static void fill_floats(void *to, int bytes) {
  float *p = to;
  for (int i = 0; i < bytes / 4; i++) p[i] = (float)random_double();
}

#define RUN(V, filler, name, expression)                                                                               \
  {                                                                                                                    \
    uint64_t hash = HASH_START;                                                                                        \
    for (int i = 0; i < ROUNDS; i++) {                                                                                 \
      V a, b, c;                                                                                                       \
      filler(&a, sizeof a), filler(&b, sizeof b), filler(&c, sizeof c);                                                \
      __typeof__(expression) r = expression;                                                                           \
      hash = mix(hash, &r, sizeof r);                                                                                  \
    }                                                                                                                  \
    printf("%s %016llx\n", name, (unsigned long long)hash);                                                            \
  }
#define I128(e) RUN(__m128i, fill, #e, (_mm_##e))
#define S128(e) RUN(__m128, fill_floats, #e, (_mm_##e))
#define D128(e) RUN(__m128d, fill_doubles, #e, (_mm_##e))
#define I256(e) RUN(__m256i, fill, "256 " #e, (_mm256_##e))
#define S256(e) RUN(__m256, fill_floats, "256 " #e, (_mm256_##e))
#define D256(e) RUN(__m256d, fill_doubles, "256 " #e, (_mm256_##e))

int main(void) {
  I128(add_epi8(a, b)) I128(add_epi16(a, b)) I128(add_epi32(a, b)) I128(add_epi64(a, b)) I128(sub_epi8(a, b)) I128(sub_epi64(a, b))
  I128(adds_epi8(a, b)) I128(adds_epu16(a, b)) I128(subs_epi16(a, b)) I128(subs_epu8(a, b)) I128(mullo_epi16(a, b)) I128(mulhi_epi16(a, b))
  I128(mulhi_epu16(a, b)) I128(mul_epu32(a, b)) I128(mul_epi32(a, b)) I128(mullo_epi32(a, b)) I128(madd_epi16(a, b)) I128(maddubs_epi16(a, b))
  I128(mulhrs_epi16(a, b)) I128(sad_epu8(a, b)) I128(avg_epu8(a, b)) I128(avg_epu16(a, b)) I128(min_epi8(a, b)) I128(min_epu16(a, b))
  I128(max_epi32(a, b)) I128(max_epu32(a, b)) I128(cmpeq_epi8(a, b)) I128(cmpgt_epi16(a, b)) I128(cmpgt_epi64(a, b)) I128(cmpeq_epi64(a, b))
  I128(packs_epi16(a, b)) I128(packus_epi32(a, b)) I128(packs_epi32(a, b)) I128(packus_epi16(a, b)) I128(unpacklo_epi8(a, b))
  I128(unpackhi_epi16(a, b)) I128(unpacklo_epi64(a, b)) I128(shuffle_epi8(a, b)) I128(sign_epi8(a, b)) I128(sign_epi32(a, b))
  I128(hadd_epi16(a, b)) I128(hadds_epi16(a, b)) I128(hsub_epi32(a, b)) I128(and_si128(a, b)) I128(andnot_si128(a, b)) I128(xor_si128(a, b))
  I128(abs_epi8(a)) I128(abs_epi32(a)) I128(sll_epi16(a, _mm_and_si128(b, _mm_set_epi32(0, 0, 0, 31)))) I128(srl_epi64(a, _mm_and_si128(b, _mm_set_epi32(0, 0, 0, 127))))
  I128(sra_epi32(a, _mm_and_si128(b, _mm_set_epi32(0, 0, 0, 63)))) I128(slli_epi32(a, 7)) I128(srai_epi16(a, 3)) I128(srli_si128(a, 5)) I128(slli_si128(a, 11))
  I128(alignr_epi8(a, b, 5)) I128(blend_epi16(a, b, 0x5a)) I128(blendv_epi8(a, b, c)) I128(mpsadbw_epu8(a, b, 5)) I128(minpos_epu16(a))
  I128(cvtepi8_epi16(a)) I128(cvtepu8_epi32(a)) I128(cvtepi32_epi64(a)) I128(shuffle_epi32(a, 0x1b)) I128(shufflehi_epi16(a, 0x72)) I128(shufflelo_epi16(a, 0x39))
  I128(movemask_epi8(a)) I128(extract_epi16(a, 3)) I128(insert_epi32(a, 77, 2)) I128(testz_si128(a, b)) I128(testnzc_si128(a, b)) I128(cvtepi32_ps(a)) I128(cvtepi32_pd(a))
  I128(cmpistrm(a, b, 0x44)) I128(cmpistri(a, b, 0x0c)) I128(cmpestrm(a, 9, b, 12, 0x71)) I128(cmpestri(a, 20, b, -3, 0x18)) I128(cmpistrc(a, b, 0x1a))
  S128(add_ps(a, b)) S128(sub_ps(a, b)) S128(mul_ps(a, b)) S128(div_ps(a, b)) S128(sqrt_ps(a)) S128(min_ps(a, b)) S128(max_ps(a, b)) S128(addsub_ps(a, b)) S128(hadd_ps(a, b))
  S128(hsub_ps(a, b)) S128(dp_ps(a, b, 0xd7)) S128(cmplt_ps(a, b)) S128(cmpunord_ps(a, b)) S128(cmpneq_ps(a, b)) S128(shuffle_ps(a, b, 0xe1)) S128(unpackhi_ps(a, b)) S128(round_ps(a, 1))
  S128(cvtps_epi32(a)) S128(cvttps_epi32(a)) S128(cvtps_pd(a)) S128(insert_ps(a, b, 0x9a)) S128(movemask_ps(a)) S128(blendv_ps(a, b, c)) S128(cvtss_si32(a)) S128(comilt_ss(a, b))
  D128(add_pd(a, b)) D128(mul_pd(a, b)) D128(div_pd(a, b)) D128(sqrt_pd(a)) D128(min_pd(a, b)) D128(max_pd(a, b)) D128(addsub_pd(a, b)) D128(hadd_pd(a, b)) D128(dp_pd(a, b, 0x33))
  D128(cmple_pd(a, b)) D128(cmpnlt_pd(a, b)) D128(shuffle_pd(a, b, 2)) D128(round_pd(a, 2)) D128(floor_sd(a, b)) D128(cvtpd_ps(a)) D128(cvtpd_epi32(a)) D128(cvttpd_epi32(a)) D128(ucomigt_sd(a, b))
  I128(crc32_u8(0x1234, (unsigned char)_mm_extract_epi8(a, 2))) I128(crc32_u32(77, (unsigned)_mm_cvtsi128_si32(a)))
#ifdef __AVX2__
  I256(add_epi8(a, b)) I256(sub_epi32(a, b)) I256(mullo_epi32(a, b)) I256(mul_epu32(a, b)) I256(madd_epi16(a, b)) I256(maddubs_epi16(a, b)) I256(sad_epu8(a, b)) I256(max_epi16(a, b))
  I256(cmpgt_epi64(a, b)) I256(packs_epi32(a, b)) I256(packus_epi16(a, b)) I256(unpackhi_epi32(a, b)) I256(shuffle_epi8(a, b)) I256(hadd_epi32(a, b)) I256(sllv_epi32(a, b)) I256(srlv_epi64(a, b))
  I256(srav_epi32(a, b)) I256(alignr_epi8(a, b, 3)) I256(blend_epi32(a, b, 0x3c)) I256(blendv_epi8(a, b, c)) I256(permute2x128_si256(a, b, 0x31)) I256(permutevar8x32_epi32(a, b))
  I256(permute4x64_epi64(a, 0x1b)) I256(mpsadbw_epu8(a, b, 0x2d)) I256(movemask_epi8(a)) I256(abs_epi16(a)) I256(bslli_epi128(a, 4)) I256(sign_epi16(a, b)) I256(testc_si256(a, b))
  I256(cvtepu16_epi32(_mm256_castsi256_si128(a))) I256(broadcastd_epi32(_mm256_castsi256_si128(a))) I256(extracti128_si256(a, 1)) I256(inserti128_si256(a, _mm256_castsi256_si128(b), 1))
  S256(add_ps(a, b)) S256(div_ps(a, b)) S256(sqrt_ps(a)) S256(dp_ps(a, b, 0x71)) S256(hadd_ps(a, b)) S256(cmp_ps(a, b, 0x0d)) S256(cmp_ps(a, b, 0x1b)) S256(permute_ps(a, 0x4e)) S256(round_ps(a, 3))
  S256(blendv_ps(a, b, c)) S256(fmadd_ps(a, b, c)) S256(fnmadd_ps(a, b, c)) S256(fmsub_ps(a, b, c)) S256(fmaddsub_ps(a, b, c)) S256(cvtps_epi32(a)) S256(cvtps_ph(a, 0)) S256(testz_ps(a, b))
  D256(add_pd(a, b)) D256(div_pd(a, b)) D256(sqrt_pd(a)) D256(cmp_pd(a, b, 0x02)) D256(permute_pd(a, 6)) D256(fmadd_pd(a, b, c)) D256(fnmsub_pd(a, b, c)) D256(fmsubadd_pd(a, b, c)) D256(cvtpd_ps(a))
  D256(permute4x64_pd(a, 0x93)) D256(unpacklo_pd(a, b)) D256(movemask_pd(a)) S128(cvtps_ph(a, 3)) I128(cvtph_ps(a)) S128(fmadd_ss(a, b, c)) D128(fnmadd_sd(a, b, c)) S128(permutevar_ps(a, _mm_castps_si128(b)))
  static const int table[256] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
  I256(i32gather_epi32(table, _mm256_and_si256(a, _mm256_set1_epi32(255)), 4)) I256(mask_i32gather_epi32(a, table, _mm256_and_si256(b, _mm256_set1_epi32(127)), c, 4))
  I256(maskload_epi32(table, a)) I256(maskload_epi64((const long long *)table, a))
  uint64_t hash = HASH_START;
  for (int i = 0; i < 3000; i++) {
    uint32_t a = (uint32_t)random_edge(), b = (uint32_t)random_edge();
    uint32_t r[12] = {_andn_u32(a, b), _bextr_u32(a, b & 31, b >> 27), _blsi_u32(a), _blsmsk_u32(a), _blsr_u32(a), _tzcnt_u32(a), _lzcnt_u32(a), _bzhi_u32(a, b & 255),
                      _pdep_u32(a, b), _pext_u32(a, b), (uint32_t)_mm_popcnt_u32(a), __builtin_bswap32(a)};
    hash = mix(hash, r, sizeof r);
#ifdef __x86_64__
    uint64_t x = random_edge(), y = random_edge();
    unsigned long long high, sum;
    uint64_t q[10] = {_andn_u64(x, y), _bextr_u64(x, y & 63, y >> 58), _blsi_u64(x), _blsr_u64(x), _tzcnt_u64(x), _lzcnt_u64(x), _bzhi_u64(x, y & 255), _pdep_u64(x, y), _pext_u64(x, y), _mulx_u64(x, y, &high)};
    q[0] ^= high, q[1] += _addcarry_u64((unsigned char)(x & 1), x, y, &sum), q[2] ^= sum, q[3] ^= _mm_crc32_u64(x, y);
    hash = mix(hash, q, sizeof q);
#endif
  }
  printf("BMI %016llx\n", (unsigned long long)hash);
#endif
  return 0;
}
