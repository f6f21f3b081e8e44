#pragma once

// Read before every file by scripts/lint: clang 14 with libstdc++ 12 cannot compile LibTorch 1.13 in C++20 when
// std::vector is constexpr (its destructor is instantiated while c10::IValue is incomplete). So it is not, here.
#include <string>
#undef _GLIBCXX20_CONSTEXPR
#define _GLIBCXX20_CONSTEXPR
#define __fill_a1 fill_bits  // its declaration was constexpr in <string> already
#include <vector>
#undef __fill_a1
#undef _GLIBCXX20_CONSTEXPR
#define _GLIBCXX20_CONSTEXPR constexpr
