#include "base/error.h"
#include "families/byte/family.h"
#include "families/patch/family.h"
#include "families/tfree/family.h"
#include "families/token/family.h"
#include "families/tokun/family.h"
#include "model/family.h"
#include "settings/settings_tree.h"

namespace verbatim {

const std::vector<Family>& all_families() {
  static const std::vector<Family> families = {
      byte_family(), patch_family(), tfree_family(), token_family(), tokun_family(),
  };
  return families;
}

const Family& find_family(std::string_view name) {
  std::vector<std::string> known;
  for (const Family& family : all_families()) {
    if (family.name == name) return family;
    known.emplace_back(family.name);
  }
  throw_input("model.family is \"{}\"; expected one of {}", name, fmt::format("{}", fmt::join(known, ", ")));
}

}  // namespace verbatim
