/* SPDX-License-Identifier: Apache-2.0 */

/** @file
 * Attention of a block of query rows over one page, in float32, for any vector length. Included once by each file of an
 * instruction set, after vector.h and these:
 *
 *   HM_ISA            name of the hm_isa table
 *   QK_ROWS           query rows of a block of scores: QK_ROWS × 4 sums and 4 keys fit the registers
 *   PV_ROWS, PV_COLS  rows and vectors of a block of output: their product and PV_COLS values fit the registers
 *   v_set1, v_fma (a·b + c), v_max, v_max_of, v_sum_of
 *   v_store_sums(to, a, b, c, d)  the sums of four vectors
 *   v_widen_bf16, v_widen_fp16, v_narrow_bf16, v_narrow_fp16   VL values from or to uint16_t
 *
 * Every row goes through the same operations in the same order, whichever rows it is blocked with. */

enum {
    QK_TOKENS = 4,
    PANEL_TOKENS = 8
};

/** 2^x for x ≤ 0 to 1.5 ulp, exact at 0; 0 below 2^−126, NaN for NaN. */
HM_INLINE vf v_exp2(vf x)
{
    const vf magic = v_set1(12582912.0f); /* 1.5·2^23: after adding it the low bits hold x rounded to an integer */
    vf shifted = x + magic;
    vf f = x - (shifted - magic);
    vf p = v_set1(0x1.5bba14p-10f); /* minimax for 2^f, |f| ≤ 1/2, relative error 9.2e-8 */
    p = v_fma(p, f, v_set1(0x1.3cea88p-7f));
    p = v_fma(p, f, v_set1(0x1.c6b752p-5f));
    p = v_fma(p, f, v_set1(0x1.ebf9bcp-3f));
    p = v_fma(p, f, v_set1(0x1.62e42ap-1f));
    p = v_fma(p, f, v_set1(1.0f));
    vu bits = (vu)p + ((vu)shifted << 23);
    vu vanished = (vu)(x < v_set1(-126.0f));
    return (vf)(bits & ~vanished);
}

static void widen(float *to, const void *from, uint32_t n, int32_t dtype)
{
    const uint16_t *values = from;
    if (dtype == HOPMLA_DTYPE_BF16) {
        for (uint32_t i = 0; i < n; i += VL) {
            v_store(to + i, v_widen_bf16(values + i));
        }
    } else {
        for (uint32_t i = 0; i < n; i += VL) {
            v_store(to + i, v_widen_fp16(values + i));
        }
    }
}

static void narrow(void *to, const float *from, float factor, uint32_t n, int32_t dtype)
{
    uint16_t *values = to;
    const vf f = v_set1(factor);
    if (dtype == HOPMLA_DTYPE_BF16) {
        for (uint32_t i = 0; i < n; i += VL) {
            v_narrow_bf16(values + i, v_load(from + i) * f);
        }
    } else {
        for (uint32_t i = 0; i < n; i += VL) {
            v_narrow_fp16(values + i, v_load(from + i) * f);
        }
    }
}

/* Scores of `rows` query rows and four tokens, sums of `dim` products: along the vectors, so that both rows lie as they
 * are. */
HM_INLINE void qk_block(float *s, const float *q, const float *k, uint32_t dim, const uint32_t rows)
{
    vf sum[QK_ROWS][QK_TOKENS];
    HM_UNROLL
    for (uint32_t r = 0; r < rows; r++) {
        HM_UNROLL
        for (uint32_t t = 0; t < QK_TOKENS; t++) {
            sum[r][t] = v_set1(0.0f);
        }
    }
    for (uint32_t d = 0; d < dim; d += VL) {
        vf key[QK_TOKENS];
        HM_UNROLL
        for (uint32_t t = 0; t < QK_TOKENS; t++) {
            key[t] = v_load(k + (size_t)t * HOPMLA_QK_DIM + d);
        }
        HM_UNROLL
        for (uint32_t r = 0; r < rows; r++) {
            vf query = v_load(q + (size_t)r * HOPMLA_QK_DIM + d);
            HM_UNROLL
            for (uint32_t t = 0; t < QK_TOKENS; t++) {
                sum[r][t] = v_fma(query, key[t], sum[r][t]);
            }
        }
    }
    HM_UNROLL
    for (uint32_t r = 0; r < rows; r++) {
        v_store_sums(s + (size_t)r * HM_TILE_TOKENS, sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
    }
}

static void qk_rows(float *s, const float *q, const float *k, uint32_t dim, uint32_t rows)
{
    switch (rows) {
#if QK_ROWS > 3
    case 4:
        qk_block(s, q, k, dim, 4);
        break;
#endif
#if QK_ROWS > 2
    case 3:
        qk_block(s, q, k, dim, 3);
        break;
#endif
    case 2:
        qk_block(s, q, k, dim, 2);
        break;
    default:
        qk_block(s, q, k, dim, 1);
        break;
    }
}

/* Keys are converted a few at a time and meet all query rows while they are in L1. They stay for the values. */
static void scores(const hm_tile *tile, hm_scratch *w)
{
    const int32_t dtype = hm_format_dtype(tile->format);
    const uint32_t rope = hm_format_rope(tile->format), dim = hm_format_qk(tile->format);
    for (uint32_t t0 = 0; t0 < tile->tokens; t0 += PANEL_TOKENS) {
        uint32_t end = tile->tokens - t0 < PANEL_TOKENS ? tile->tokens : t0 + PANEL_TOKENS;
        for (uint32_t t = t0; t < end; t++) {
            widen(w->k[t], tile->latent + t * tile->latent_stride, HOPMLA_LATENT_DIM, dtype);
            if (rope) {
                widen(w->k[t] + HOPMLA_LATENT_DIM, tile->rope + t * tile->rope_stride, rope, dtype);
            }
        }
        for (uint32_t r = 0; r < tile->rows; r += QK_ROWS) {
            uint32_t rows = tile->rows - r < QK_ROWS ? tile->rows - r : QK_ROWS;
            /* The last four tokens may reach into former keys: their scores are masked. */
            for (uint32_t t = t0; t < end; t += QK_TOKENS) {
                qk_rows(&w->s[r][t], w->q[r], w->k[t], dim, rows);
            }
        }
    }
}

/* Scores of one row become probabilities relative to the row's largest score so far. */
HM_INLINE void softmax_row(const hm_tile *tile, hm_scratch *w, uint32_t row, vf lanes)
{
    enum {
        N = HM_TILE_TOKENS / VL
    };
    const vf nothing = v_set1(-__builtin_inff());
    float *s = w->s[row];
    vf x[N];
    int32_t visible = w->limit[row] - tile->first_token;
    visible = visible < (int32_t)tile->tokens ? visible : (int32_t)tile->tokens;
    HM_UNROLL
    for (uint32_t i = 0; i < N; i++) {
        x[i] = v_load(s + i * VL) * v_set1(tile->factor);
    }
    if (visible < HM_TILE_TOKENS) {
        HM_UNROLL
        for (uint32_t i = 0; i < N; i++) {
            x[i] = v_select((vu)(lanes + v_set1((float)(i * VL)) < v_set1((float)visible)), x[i], nothing);
        }
    }
    vf top = x[0];
    HM_UNROLL
    for (uint32_t i = 1; i < N; i++) {
        top = v_max(top, x[i]);
    }
    float former = w->m[row], largest = v_max_of(top);
    float m = largest > former ? largest : former;
    float reference = m == -__builtin_inff() ? 0.0f : m; /* a row that has seen nothing: every 2^(−inf) is 0 */
    vf sum = v_set1(0.0f);
    HM_UNROLL
    for (uint32_t i = 0; i < N; i++) {
        x[i] = v_exp2(x[i] - v_set1(reference));
        sum += x[i];
        v_store(s + i * VL, x[i]);
    }
    float rescale = v_exp2(v_set1(former - reference))[0];
    w->m[row] = m;
    w->l[row] = w->l[row] * rescale + v_sum_of(sum);
    w->rescale[row] = rescale;
}

/* `rows` rows and PV_COLS vectors of o, over all tokens of the tile. */
HM_INLINE void pv_block(const hm_tile *tile, hm_scratch *w, uint32_t row, uint32_t column, const uint32_t rows)
{
    vf sum[PV_ROWS][PV_COLS];
    HM_UNROLL
    for (uint32_t r = 0; r < rows; r++) {
        HM_UNROLL
        for (uint32_t c = 0; c < PV_COLS; c++) {
            sum[r][c] =
                tile->first ? v_set1(0.0f) : v_load(&tile->o[row + r][column + c * VL]) * v_set1(w->rescale[row + r]);
        }
    }
    const float *v = &w->k[0][column];
    const float *p = w->s[row];
    for (uint32_t t = 0; t < tile->tokens; t++, v += HOPMLA_QK_DIM, p++) {
        vf value[PV_COLS];
        HM_UNROLL
        for (uint32_t c = 0; c < PV_COLS; c++) {
            value[c] = v_load(v + c * VL);
        }
        HM_UNROLL
        for (uint32_t r = 0; r < rows; r++) {
            vf weight = v_set1(p[r * HM_TILE_TOKENS]);
            HM_UNROLL
            for (uint32_t c = 0; c < PV_COLS; c++) {
                sum[r][c] = v_fma(weight, value[c], sum[r][c]);
            }
        }
    }
    HM_UNROLL
    for (uint32_t r = 0; r < rows; r++) {
        HM_UNROLL
        for (uint32_t c = 0; c < PV_COLS; c++) {
            v_store(&tile->o[row + r][column + c * VL], sum[r][c]);
        }
    }
}

static void pv_rows(const hm_tile *tile, hm_scratch *w, uint32_t row, uint32_t column, uint32_t rows)
{
    switch (rows) {
#if PV_ROWS > 7
    case 8:
        pv_block(tile, w, row, column, 8);
        break;
    case 7:
        pv_block(tile, w, row, column, 7);
        break;
#endif
#if PV_ROWS > 5
    case 6:
        pv_block(tile, w, row, column, 6);
        break;
    case 5:
        pv_block(tile, w, row, column, 5);
        break;
#endif
    case 4:
        pv_block(tile, w, row, column, 4);
        break;
    case 3:
        pv_block(tile, w, row, column, 3);
        break;
    case 2:
        pv_block(tile, w, row, column, 2);
        break;
    default:
        pv_block(tile, w, row, column, 1);
        break;
    }
}

static void attend(const hm_tile *tile, hm_scratch *w)
{
    vf lanes = v_set1(0.0f);
    for (uint32_t i = 0; i < VL; i++) {
        lanes[i] = (float)i;
    }
    scores(tile, w);
    for (uint32_t r = 0; r < tile->rows; r++) {
        softmax_row(tile, w, r, lanes);
    }
    for (uint32_t c = 0; c < HOPMLA_LATENT_DIM; c += PV_COLS * VL) {
        for (uint32_t r = 0; r < tile->rows; r += PV_ROWS) {
            pv_rows(tile, w, r, c, tile->rows - r < PV_ROWS ? tile->rows - r : PV_ROWS);
        }
    }
}

static void accumulate(float *to, const float *from, float weight, uint32_t n)
{
    const vf w = v_set1(weight);
    for (uint32_t i = 0; i < n; i += VL) {
        v_store(to + i, v_fma(v_load(from + i), w, v_load(to + i)));
    }
}

static float read_all(const float *from, size_t n)
{
    vf sum[8];
    HM_UNROLL
    for (uint32_t i = 0; i < 8; i++) {
        sum[i] = v_set1(0.0f);
    }
    for (size_t at = 0; at < n; at += 8 * VL) {
        HM_UNROLL
        for (uint32_t i = 0; i < 8; i++) {
            sum[i] += v_load(from + at + i * VL);
        }
    }
    for (uint32_t i = 1; i < 8; i++) {
        sum[0] += sum[i];
    }
    return v_sum_of(sum[0]);
}

static uint64_t multiply_add(uint32_t rounds, float *values)
{
    enum {
        CHAINS = 12,
        STEPS = 16
    };
    vf sum[CHAINS];
    HM_UNROLL
    for (uint32_t i = 0; i < CHAINS; i++) {
        sum[i] = v_load(values) + v_set1((float)i); /* distinct, or compilers merge them */
    }
    const vf a = v_load(values + 16), b = v_load(values + 32);
    for (uint32_t n = 0; n < rounds * STEPS; n++) {
        HM_UNROLL
        for (uint32_t i = 0; i < CHAINS; i++) {
            sum[i] = v_fma(sum[i], a, b);
        }
    }
    for (uint32_t i = 1; i < CHAINS; i++) {
        sum[0] += sum[i];
    }
    values[0] = v_sum_of(sum[0]);
    return (uint64_t)rounds * STEPS * CHAINS * VL * 2;
}

const hm_isa HM_ISA = { widen, narrow, attend, accumulate, read_all, multiply_add };
