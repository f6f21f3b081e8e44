#include "families/token/family.h"

#include "base/error.h"
#include "families/token/token_encoder.h"
#include "model/softmax_decoder.h"

namespace verbatim {

namespace {

ModelParts make(ModelSettings& settings, const std::filesystem::path& folder, at::Generator generator) {
  if (settings.backbone.kind != "transformer") {
    throw_input("backbone.kind is \"{}\"; family token needs backbone.kind = \"transformer\"", settings.backbone.kind);
  }
  auto& encoder_settings = dynamic_cast<TokenEncoderSettings&>(*settings.encoder);
  std::filesystem::path file = encoder_settings.tokenizer;
  if (file.is_relative() && std::filesystem::exists(folder / file)) file = folder / file;
  if (!std::filesystem::exists(file)) {
    throw_input("encoder.tokenizer is \"{}\": no such file in \"{}\" or the working folder; train one with `verbatim prepare "
                "--train-tokenizer bpe`, or give the path of a tokenizer.json or SentencePiece .model",
                encoder_settings.tokenizer, folder.string());
  }
  std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::open(file);
  auto encoder = std::make_shared<TokenEncoder>(tokenizer, settings.backbone.width(), generator);
  auto backbone = make_backbone(settings.backbone, generator);
  SoftmaxDecoder::Options options{.symbols = tokenizer->vocabulary_size(),
                                  .end_id = encoder->segmenter().end_id(),
                                  .never = {},
                                  .likelihood = Likelihood::kBound};
  for (int32_t id = 0; id < options.symbols; ++id) {
    const TokenKind kind = tokenizer->token_bytes(id).kind;
    if ((kind == TokenKind::kControl || kind == TokenKind::kUnknown) && id != options.end_id) options.never.push_back(id);
  }
  const auto& softmax = dynamic_cast<SoftmaxSettings&>(*settings.decoder);
  auto decoder = std::make_shared<SoftmaxDecoder>(options, settings.backbone.width(),
                                                  softmax.tied ? encoder->table() : at::Tensor(), generator);
  // The model folder carries the tokenizer itself; its settings name that copy.
  encoder_settings.tokenizer = tokenizer->file_name();
  return {.encoder = encoder,
          .backbone = backbone,
          .decoder = decoder,
          .files = {{tokenizer->file_name(), tokenizer->file_bytes()}}};
}

}  // namespace

Family token_family() {
  return {.name = "token",
          .summary = "subword tokens of SentencePiece or tokenizer.json, the baseline with a fixed tokenizer",
          .encoder_settings = []() -> std::unique_ptr<Settings> { return std::make_unique<TokenEncoderSettings>(); },
          .decoder_settings = []() -> std::unique_ptr<Settings> { return std::make_unique<SoftmaxSettings>(); },
          .make = make};
}

}  // namespace verbatim
