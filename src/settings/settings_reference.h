#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "settings/visitor.h"

namespace verbatim {

// What describe() says of the defaults, and behind it a line for every setting that exists only when others have other
// values than these, with the ones that bring it: "(with encoder.network = "published")". Found by trying: each
// choice, each switch, numbers that are 0 and become 1 or the other way round, empty lists that get a number, and
// `words`, "section.key=value", for what no list of choices says.
struct AllSettingsOptions {
  std::vector<std::string> words = {};
  // The same for settings that mean the same, for instance those of a backbone inside another one.
  std::function<std::string(std::string_view name)> meaning = [](std::string_view name) { return std::string(name); };
};
[[nodiscard]] std::string describe_all(const std::function<std::unique_ptr<Settings>()>& make,
                                       const AllSettingsOptions& options = {});

}  // namespace verbatim
