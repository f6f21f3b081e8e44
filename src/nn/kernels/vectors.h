#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

// Sixteen numbers at a time on any machine: the types, what they are made of, arithmetic, comparisons, choices and
// conversions. Where the registers are wide enough a type is a vector of the compiler; elsewhere it is a pair of
// narrower ones, since GCC keeps a vector that no register holds in memory and compares it number by number: on AVX2
// that made scans eight times slower.
namespace verbatim::nn {

inline constexpr int64_t kLanes = 16;
// Numbers of 32 bits that a register holds.
#if defined(__AVX512F__)
inline constexpr int64_t kNativeLanes = 16;
#elif defined(__AVX2__)
inline constexpr int64_t kNativeLanes = 8;
#else
inline constexpr int64_t kNativeLanes = 4;
#endif
inline constexpr bool kFillsRegister = kNativeLanes == kLanes;

// A call of these costs more than what they do.
#define VERBATIM_INLINE [[gnu::always_inline]] inline

// Lanes 0 to n / 2 - 1 and those behind them.
template <class Half>
struct Pair {
  Half low, high;
};

namespace detail {

template <class T, int64_t lanes>
struct VectorOf {
  static constexpr bool kIsNative =
      lanes <= kNativeLanes && lanes * static_cast<int64_t>(sizeof(T)) <= 4 * kNativeLanes;
  static auto make() {
    if constexpr (kIsNative) {
      using Native [[gnu::vector_size(lanes * sizeof(T))]] = T;
      return Native{};
    } else {
      return Pair<typename VectorOf<T, lanes / 2>::Type>{};
    }
  }
  using Type = decltype(make());
};

template <class V>
struct ElementOf {
  using Type = std::remove_cvref_t<decltype(std::declval<V&>()[0])>;
};
template <class Half>
struct ElementOf<Pair<Half>> {
  using Type = typename ElementOf<Half>::Type;
};

}  // namespace detail

template <class T, int64_t lanes>
using Vector = typename detail::VectorOf<T, lanes>::Type;
template <class V>
using Element = typename detail::ElementOf<V>::Type;
template <class V>
inline constexpr int64_t kLanesOf = static_cast<int64_t>(sizeof(V) / sizeof(Element<V>));
template <class V>
inline constexpr bool kIsPair = false;
template <class Half>
inline constexpr bool kIsPair<Pair<Half>> = true;

using F32x16 = Vector<float, 16>;
using I32x16 = Vector<int32_t, 16>;
using U32x16 = Vector<uint32_t, 16>;
using U16x16 = Vector<uint16_t, 16>;
using F64x16 = Vector<double, 16>;
using NativeF32 = Vector<float, kNativeLanes>;

// Operators of pairs are those of their halves; a scalar stands for all lanes, as with the compiler's vectors.
#define VERBATIM_PAIR_OPERATOR(op)                                                         \
  template <class H>                                                                       \
  VERBATIM_INLINE auto operator op(const Pair<H>& a, const Pair<H>& b) {                   \
    return Pair<decltype(a.low op b.low)>{a.low op b.low, a.high op b.high};               \
  }                                                                                        \
  template <class H>                                                                       \
  VERBATIM_INLINE auto operator op(const Pair<H>& a, std::type_identity_t<Element<H>> b) { \
    return Pair<decltype(a.low op b)>{a.low op b, a.high op b};                            \
  }                                                                                        \
  template <class H>                                                                       \
  VERBATIM_INLINE auto operator op(std::type_identity_t<Element<H>> a, const Pair<H>& b) { \
    return Pair<decltype(a op b.low)>{a op b.low, a op b.high};                            \
  }
VERBATIM_PAIR_OPERATOR(+)
VERBATIM_PAIR_OPERATOR(-)
VERBATIM_PAIR_OPERATOR(*)
VERBATIM_PAIR_OPERATOR(/)
VERBATIM_PAIR_OPERATOR(&)
VERBATIM_PAIR_OPERATOR(|)
VERBATIM_PAIR_OPERATOR(<)
VERBATIM_PAIR_OPERATOR(<=)
VERBATIM_PAIR_OPERATOR(>)
VERBATIM_PAIR_OPERATOR(>=)
VERBATIM_PAIR_OPERATOR(==)
#undef VERBATIM_PAIR_OPERATOR

template <class H>
VERBATIM_INLINE Pair<H> operator-(const Pair<H>& a) {
  return {-a.low, -a.high};
}
template <class H>
VERBATIM_INLINE Pair<H> operator~(const Pair<H>& a) {
  return {~a.low, ~a.high};
}
template <class H>
VERBATIM_INLINE Pair<H> operator<<(const Pair<H>& a, int bits) {
  return {a.low << bits, a.high << bits};
}
template <class H>
VERBATIM_INLINE Pair<H> operator>>(const Pair<H>& a, int bits) {
  return {a.low >> bits, a.high >> bits};
}
template <class H, class B>
VERBATIM_INLINE Pair<H>& operator+=(Pair<H>& a, const B& b) {
  return a = a + b;
}
template <class H, class B>
VERBATIM_INLINE Pair<H>& operator-=(Pair<H>& a, const B& b) {
  return a = a - b;
}
template <class H, class B>
VERBATIM_INLINE Pair<H>& operator*=(Pair<H>& a, const B& b) {
  return a = a * b;
}

// All lanes alike.
template <class V = F32x16>
VERBATIM_INLINE V splat(Element<V> x) {
  if constexpr (kIsPair<V>) {
    const auto half = splat<decltype(V::low)>(x);
    return {half, half};
  } else {
    return x - V{};
  }
}
VERBATIM_INLINE I32x16 splat_int(int32_t x) { return splat<I32x16>(x); }

// 0, 1, 2, ...
template <class V = I32x16>
VERBATIM_INLINE V lane_numbers(Element<V> first = 0) {
  if constexpr (kIsPair<V>) {
    using Half = decltype(V::low);
    return {lane_numbers<Half>(first), lane_numbers<Half>(first + static_cast<Element<V>>(kLanesOf<Half>))};
  } else {
    V numbers;
    for (int64_t i = 0; i < kLanesOf<V>; ++i) numbers[i] = first + static_cast<Element<V>>(i);
    return numbers;
  }
}

// a where the mask of a comparison holds, elsewhere b.
template <class Mask, class V>
VERBATIM_INLINE V select(const Mask& mask, const V& a, const V& b) {
  if constexpr (kIsPair<V>) {
    return {select(mask.low, a.low, b.low), select(mask.high, a.high, b.high)};
  } else {
    return mask ? a : b;
  }
}

// The same bits.
template <class To, class From>
VERBATIM_INLINE To bits_as(const From& x) {
  if constexpr (kIsPair<To>) {
    return {bits_as<decltype(To::low)>(x.low), bits_as<decltype(To::high)>(x.high)};
  } else {
    return (To)x;
  }
}

// The same numbers in another type.
template <class To, class From>
VERBATIM_INLINE To convert(const From& x) {
  if constexpr (kIsPair<To> && kIsPair<From>) {
    return {convert<decltype(To::low)>(x.low), convert<decltype(To::high)>(x.high)};
  } else if constexpr (kIsPair<To>) {
    // As many lanes are twice as wide: a register of half as many.
    using Half [[gnu::vector_size(sizeof(From) / 2)]] = Element<From>;
    Half halves[2];
    std::memcpy(halves, &x, sizeof(x));
    return {convert<decltype(To::low)>(halves[0]), convert<decltype(To::high)>(halves[1])};
  } else {
    return __builtin_convertvector(x, To);
  }
}

// Loads and stores without alignment.
template <class V, class T>
VERBATIM_INLINE V load_as(const T* from) {
  if constexpr (kIsPair<V>) {
    using Half = decltype(V::low);
    return {load_as<Half>(from), load_as<Half>(from + kLanesOf<Half>)};
  } else {
    V x;
    std::memcpy(&x, from, sizeof(x));
    return x;
  }
}
template <class T, class V>
VERBATIM_INLINE void store_all(T* to, const V& x) {
  if constexpr (kIsPair<V>) {
    store_all(to, x.low);
    store_all(to + kLanesOf<decltype(x.low)>, x.high);
  } else {
    std::memcpy(to, &x, sizeof(x));
  }
}

// Keeps `x` in registers, where the compiler would read it from memory anew for every use.
template <class V>
VERBATIM_INLINE void hold(V& x) {
  if constexpr (kIsPair<V>) {
    hold(x.low);
    hold(x.high);
  } else {
#if defined(__AVX512F__)
    asm("" : "+v"(x));
#elif defined(__x86_64__)
    asm("" : "+x"(x));
#endif
  }
}

// The larger and the smaller one, the second one where either is NaN.
template <class V>
VERBATIM_INLINE V maximum(const V& a, const V& b) {
  if constexpr (kIsPair<V>) {
    return {maximum(a.low, b.low), maximum(a.high, b.high)};
  } else {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<V, F32x16>) return (V)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    if constexpr (std::is_same_v<V, NativeF32>) return (V)_mm256_max_ps((__m256)a, (__m256)b);
#endif
    return a > b ? a : b;
  }
}
template <class V>
VERBATIM_INLINE V minimum(const V& a, const V& b) {
  if constexpr (kIsPair<V>) {
    return {minimum(a.low, b.low), minimum(a.high, b.high)};
  } else {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<V, F32x16>) return (V)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    if constexpr (std::is_same_v<V, NativeF32>) return (V)_mm256_min_ps((__m256)a, (__m256)b);
#endif
    return a < b ? a : b;
  }
}

template <class V>
VERBATIM_INLINE V square_root(const V& x) {
  if constexpr (kIsPair<V>) {
    return {square_root(x.low), square_root(x.high)};
  } else {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<V, F32x16>) return (V)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
    if constexpr (std::is_same_v<V, NativeF32>) return (V)_mm256_sqrt_ps((__m256)x);
#endif
    V root = x;
    for (int64_t i = 0; i < kLanesOf<V>; ++i) root[i] = __builtin_sqrtf(x[i]);
    return root;
  }
}

}  // namespace verbatim::nn
