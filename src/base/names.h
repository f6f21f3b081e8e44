#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace verbatim {

// The number of inserted, deleted, replaced and swapped neighbouring bytes that turn `a` into `b`.
[[nodiscard]] size_t edit_distance(std::string_view a, std::string_view b);

// Those of `known` that a person who wrote `name` may have meant: at most `max_names`, nearest first, none when all
// are far away. For messages like "unknown setting 'optim.lrr'; did you mean 'optim.lr'?".
[[nodiscard]] std::vector<std::string> nearest_names(std::string_view name, const std::vector<std::string>& known,
                                                     size_t max_names = 3);

// "; did you mean 'optim.lr' or 'optim.lr_min'?" or the empty string: the end of such a message.
[[nodiscard]] std::string suggest_names(std::string_view name, const std::vector<std::string>& known,
                                        size_t max_names = 3);

}  // namespace verbatim
