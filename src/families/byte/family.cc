#include "families/byte/family.h"

#include "base/error.h"
#include "families/byte/byte_encoder.h"
#include "families/byte/byte_parts.h"

namespace verbatim {

ModelParts make_byte_parts(ModelSettings& settings, at::Generator generator) {
  const auto& bytes = dynamic_cast<const ByteEncoderSettings&>(*settings.encoder);
  auto encoder = std::make_shared<ByteEncoder>(bytes, settings.backbone.width(), generator);
  auto backbone = make_backbone(settings.backbone, generator);
  const auto& softmax = dynamic_cast<SoftmaxSettings&>(*settings.decoder);
  // Symbols beyond the bytes stand for no text; the end is one of them, or a byte.
  std::vector<int32_t> never;
  for (int64_t id = 256; id < bytes.table_rows(); ++id) {
    if (id != bytes.end_id) never.push_back(static_cast<int32_t>(id));
  }
  if (bytes.start_id < 256 && bytes.start_id > 127 && bytes.start_id != bytes.end_id)
    never.push_back(static_cast<int32_t>(bytes.start_id));
  auto decoder = std::make_shared<SoftmaxDecoder>(SoftmaxDecoder::Options{.symbols = bytes.table_rows(),
                                                                          .end_id = bytes.end_id,
                                                                          .never = never,
                                                                          .likelihood = Likelihood::kExact,
                                                                          .bias = softmax.bias},
                                                  settings.backbone.width(),
                                                  softmax.tied ? encoder->table() : at::Tensor(), generator);
  return {.encoder = encoder, .backbone = backbone, .decoder = decoder, .files = {}};
}

namespace {

ModelParts make(ModelSettings& settings, const std::filesystem::path& /*folder*/, at::Generator generator) {
  if (!settings.backbone.is_stack()) {
    throw_input("backbone.kind is \"{}\"; family byte reads plain bytes: use family \"patch\" for it",
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
          .segmenter = [](const Settings& settings, const std::filesystem::path&) -> std::unique_ptr<Segmenter> {
            return std::make_unique<ByteSegmenter>(dynamic_cast<const ByteEncoderSettings&>(settings));
          },
          .make = make};
}

}  // namespace verbatim
