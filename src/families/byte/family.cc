#include "families/byte/family.h"

#include "base/error.h"
#include "families/byte/byte_encoder.h"
#include "families/byte/byte_parts.h"

namespace verbatim {

ModelParts make_byte_parts(ModelSettings& settings, at::Generator generator) {
  auto encoder = std::make_shared<ByteEncoder>(dynamic_cast<ByteEncoderSettings&>(*settings.encoder),
                                               settings.backbone.width(), generator);
  auto backbone = make_backbone(settings.backbone, generator);
  const auto& softmax = dynamic_cast<SoftmaxSettings&>(*settings.decoder);
  auto decoder = std::make_shared<SoftmaxDecoder>(
      SoftmaxDecoder::Options{.symbols = 257, .end_id = kBoundaryId, .never = {}, .likelihood = Likelihood::kExact},
      settings.backbone.width(), softmax.tied ? encoder->table() : at::Tensor(), generator);
  return {.encoder = encoder, .backbone = backbone, .decoder = decoder, .files = {}};
}

namespace {

ModelParts make(ModelSettings& settings, const std::filesystem::path& /*folder*/, at::Generator generator) {
  if (settings.backbone.kind != "transformer") {
    throw_input(
        "backbone.kind is \"{}\"; family byte reads plain bytes with a transformer: use family \"patch\" for a level",
        settings.backbone.kind);
  }
  return make_byte_parts(settings, std::move(generator));
}

}  // namespace

Family byte_family() {
  return {.name = "byte",
          .summary = "plain bytes, the baseline without any grouping",
          .encoder_settings = []() -> std::unique_ptr<Settings> { return std::make_unique<ByteEncoderSettings>(); },
          .decoder_settings = []() -> std::unique_ptr<Settings> { return std::make_unique<SoftmaxSettings>(); },
          .segmenter = [](const Settings&, const std::filesystem::path&) -> std::unique_ptr<Segmenter> {
            return std::make_unique<ByteSegmenter>();
          },
          .make = make};
}

}  // namespace verbatim
