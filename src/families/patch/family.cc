#include "families/patch/family.h"

#include "base/error.h"
#include "families/byte/byte_encoder.h"
#include "families/byte/byte_parts.h"

namespace verbatim {

namespace {

ModelParts make(ModelSettings& settings, const std::filesystem::path& /*folder*/, at::Generator generator) {
  if (!settings.backbone.is_level() && !settings.backbone.is_megabyte()) {
    throw_input(
        "backbone.kind is \"{}\"; family patch groups bytes: set backbone.kind to \"level\", \"grouped\" or "
        "\"megabyte\", or use family \"byte\"",
        settings.backbone.kind);
  }
  return make_byte_parts(settings, std::move(generator));
}

}  // namespace

Family patch_family() {
  return {.name = "patch",
          .summary = "bytes, grouped inside the backbone by nested levels: fixed stride or spaces",
          .encoder_settings = []() -> std::unique_ptr<Settings> { return std::make_unique<ByteEncoderSettings>(); },
          .decoder_settings = []() -> std::unique_ptr<Settings> { return std::make_unique<SoftmaxSettings>(); },
          .segmenter = [](const Settings& settings, const std::filesystem::path&) -> std::unique_ptr<Segmenter> {
            return std::make_unique<ByteSegmenter>(dynamic_cast<const ByteEncoderSettings&>(settings));
          },
          .make = make};
}

}  // namespace verbatim
