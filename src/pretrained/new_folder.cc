#include "pretrained/new_folder.h"

#include "base/error.h"

namespace verbatim {

void require_free(const std::filesystem::path& out) {
  if (out.empty()) throw_input("the name of the folder to write is empty");
  if (!std::filesystem::exists(out)) return;
  if (std::filesystem::is_directory(out) && std::filesystem::is_empty(out)) return;
  throw_input("{}: exists already; remove it or choose another folder", out.string());
}

}  // namespace verbatim
