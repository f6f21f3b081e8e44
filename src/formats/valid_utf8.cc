#include "formats/valid_utf8.h"

#include <nlohmann/json.hpp>

namespace verbatim {

std::string with_valid_utf8(std::string_view bytes) {
  // The writer of the JSON library repairs, its reader undoes the escapes.
  using Json = nlohmann::json;
  return Json::parse(Json(bytes).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
}

}  // namespace verbatim
