#pragma once

#include <utf8proc.h>

namespace verbatim {

// The general category of Unicode 14.0, whatever version the library has: how a text is cut into words must not depend
// on the machine. Newer characters are unassigned (UTF8PROC_CATEGORY_CN). `value` is at most U+10FFFF.
[[nodiscard]] utf8proc_category_t unicode_category(char32_t value);

}  // namespace verbatim
