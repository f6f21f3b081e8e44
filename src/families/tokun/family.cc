#include "families/tokun/family.h"

#include "base/error.h"
#include "families/tokun/tokun_decoder.h"
#include "families/tokun/tokun_encoder.h"
#include "formats/safetensors.h"
#include "model/model_folder.h"
#include "model/tensor_io.h"
#include "model/weights.h"

namespace verbatim {

namespace {

namespace fs = std::filesystem;

// What a saved model says instead of a folder: its weights are already its own.
constexpr std::string_view kTaken = "taken";

// The weights of a trained autoencoder, for the halves of a language model. The halves must have the same settings.
void take_autoencoder(ModelParts& parts, const std::string& name, const fs::path& folder) {
  const fs::path given = name;
  const fs::path source = find_model_folder(given.is_relative() && fs::exists(folder / given) ? folder / given : given);
  const SafetensorsReader reader = SafetensorsReader::open(source / "model.safetensors");
  const auto take = [&](torch::nn::Module& part, const std::string& prefix) {
    torch::NoGradGuard no_grad;
    for (auto& parameter : part.named_parameters()) {
      if (parameter.key().starts_with("project.") || parameter.key().starts_with("deviation.")) continue;
      const std::string tensor = prefix + parameter.key();
      if (!reader.contains(tensor)) {
        throw_input(
            "{}: has no tensor \"{}\"; encoder.autoencoder must name a model of family tokun with backbone.kind = "
            "\"none\" "
            "and the same encoder.* and decoder.* settings",
            source.string(), tensor);
      }
      const at::Tensor value = tensor_from_view(reader.tensor(tensor), tensor);
      if (value.sizes() != parameter.value().sizes()) {
        throw_input(
            "{}: tensor \"{}\" has shape [{}], expected [{}]; encoder.* and decoder.* must be those of the autoencoder",
            source.string(), tensor, fmt::join(value.sizes(), ", "), fmt::join(parameter.value().sizes(), ", "));
      }
      parameter.value().copy_(value);
    }
  };
  take(*parts.encoder, "encoder.");
  take(*parts.decoder, "decoder.");
}

ModelParts make(ModelSettings& settings, const fs::path& folder, at::Generator generator) {
  auto& encoder_settings = dynamic_cast<TokunEncoderSettings&>(*settings.encoder);
  const auto& decoder_settings = dynamic_cast<const TokunDecoderSettings&>(*settings.decoder);
  encoder_settings.validate();
  decoder_settings.validate(encoder_settings);
  if (!settings.backbone.is_stack() && !settings.backbone.is_none()) {
    throw_input(
        "backbone.kind is \"{}\"; family tokun needs a stack of layers over blocks (\"transformer\", \"mamba2\", ...), "
        "or "
        "\"none\" for the autoencoder alone",
        settings.backbone.kind);
  }
  const bool alone = settings.backbone.is_none();
  if (alone && (encoder_settings.frozen || !encoder_settings.autoencoder.empty())) {
    throw_input(
        "encoder.autoencoder and encoder.frozen are for a language model; this is an autoencoder itself (backbone.kind "
        "= "
        "\"none\"): train it further with --train.from");
  }
  if (alone && decoder_settings.kind == "bytes" && decoder_settings.recent > 0) {
    throw_input(
        "decoder.recent is {}, but an autoencoder (backbone.kind = \"none\") gives back each block from its vector "
        "alone; "
        "set it to 0",
        decoder_settings.recent);
  }
  if (alone) settings.backbone.stack.width = encoder_settings.latent;
  const int64_t width = alone ? 0 : settings.backbone.width();
  ModelParts parts;
  const auto encoder = std::make_shared<TokunEncoder>(encoder_settings, width, generator);
  parts.encoder = encoder;
  parts.backbone = make_backbone(settings.backbone, generator);
  if (decoder_settings.kind == "bytes") {
    parts.decoder = std::make_shared<SymbolBlockDecoder>(encoder_settings, decoder_settings, width, generator);
  } else {
    parts.decoder = std::make_shared<WholeBlockDecoder>(encoder_settings, decoder_settings, width, generator,
                                                        encoder->shared_network());
  }
  if (!encoder_settings.autoencoder.empty() && encoder_settings.autoencoder != kTaken && !ShapesOnly::active()) {
    take_autoencoder(parts, encoder_settings.autoencoder, folder);
    // From here on the weights are the model's own.
    encoder_settings.autoencoder = kTaken;
  }
  return parts;
}

}  // namespace

Family tokun_family() {
  return {.name = "tokun",
          .summary = "blocks of characters as UTF-32 bytes, through a hierarchical autoencoder (tokun)",
          .encoder_settings = []() -> std::unique_ptr<Settings> { return std::make_unique<TokunEncoderSettings>(); },
          .decoder_settings = []() -> std::unique_ptr<Settings> { return std::make_unique<TokunDecoderSettings>(); },
          .segmenter = [](const Settings& settings, const fs::path&) -> std::unique_ptr<Segmenter> {
            const auto& encoder = dynamic_cast<const TokunEncoderSettings&>(settings);
            encoder.validate();
            return std::make_unique<TokunSegmenter>(encoder.block_options());
          },
          .make = make};
}

}  // namespace verbatim
