#include "base/error.h"
#include "model/grouped_level.h"
#include "model/learned_level.h"
#include "model/level.h"
#include "model/megabyte.h"
#include "model/no_backbone.h"

namespace verbatim {

std::shared_ptr<Backbone> make_backbone(const BackboneSettings& settings, at::Generator generator) {
  if (settings.is_none()) return std::make_shared<NoBackbone>(settings.width());
  if (settings.is_megabyte()) return std::make_shared<Megabyte>(settings, generator);
  if (!settings.is_level()) return std::make_shared<StackBackbone>(settings, generator);
  VERBATIM_ASSERT(settings.inner.size() == 1);
  std::shared_ptr<Backbone> inner = make_backbone(settings.inner.front(), generator);
  if (settings.kind == "grouped") return std::make_shared<GroupedLevel>(settings, std::move(inner), generator);
  if (settings.learns_boundaries()) return std::make_shared<LearnedLevel>(settings, std::move(inner), generator);
  return std::make_shared<Level>(settings, std::move(inner), generator);
}

}  // namespace verbatim
