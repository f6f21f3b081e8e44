#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>
#include <type_traits>

#include "nn/kernels/vector_math.h"

// Rows of any length and either type in steps of sixteen values, or of one register.
namespace verbatim::nn {

// A number of lanes that is known: all of them.
template <int64_t lanes>
using LaneCount = std::integral_constant<int64_t, lanes>;
using AllLanes = LaneCount<kLanes>;

template <class Count>
inline constexpr bool kIsAll = !std::is_integral_v<Count>;

VERBATIM_INLINE const BFloat16Bits* bits_of(const c10::BFloat16* p) { return reinterpret_cast<const BFloat16Bits*>(p); }
VERBATIM_INLINE BFloat16Bits* bits_of(c10::BFloat16* p) { return reinterpret_cast<BFloat16Bits*>(p); }

// Loads and stores of `lanes` values: AllLanes{} for a full vector (unaligned is fine), a smaller number at the end of
// a row; lanes beyond it are 0 when loaded and left alone when stored.
template <FloatVector V = F32x16, class Count>
VERBATIM_INLINE V load(const float* from, Count lanes) {
  if constexpr (kIsAll<Count>) return load<V>(from);
  return load_part<V>(from, lanes);
}
template <FloatVector V = F32x16, class Count>
VERBATIM_INLINE V load(const c10::BFloat16* from, Count lanes) {
  if constexpr (kIsAll<Count>) return load<V>(bits_of(from));
  return load_part<V>(bits_of(from), lanes);
}

template <FloatVector V, class Count>
VERBATIM_INLINE void store(float* to, const V& values, Count lanes) {
  if constexpr (kIsAll<Count>) return store(to, values);
  store_part(to, values, lanes);
}
template <FloatVector V, class Count>
VERBATIM_INLINE void store(c10::BFloat16* to, const V& values, Count lanes) {
  if constexpr (kIsAll<Count>) return store(bits_of(to), values);
  store_part(bits_of(to), values, lanes);
}

// Calls f(i, lanes) for i = 0, 16, 32, ... (the lanes of V): with all lanes as long as so many values remain, then with
// the number of what is left.
template <FloatVector V = F32x16, class F>
VERBATIM_INLINE void by_vectors(int64_t count, F&& f) {
  int64_t i = 0;
  for (; i + kLanesOf<V> <= count; i += kLanesOf<V>) f(i, LaneCount<kLanesOf<V>>{});
  if (i < count) f(i, count - i);
}

}  // namespace verbatim::nn
