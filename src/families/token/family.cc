#include "families/token/family.h"

#include "base/error.h"
#include "base/text_format.h"
#include "families/token/token_encoder.h"
#include "model/softmax_decoder.h"

namespace verbatim {

namespace {

// Rows of the tables. Throws InputError for settings that do not fit the tokenizer.
int64_t rows_of_tables(const TokenEncoderSettings& settings, const Tokenizer& tokenizer) {
  const int64_t tokens = tokenizer.vocabulary_size();
  const int64_t rows = settings.vocabulary > 0 ? settings.vocabulary : tokens;
  if (rows < tokens) {
    throw_input("encoder.vocabulary is {}, {} has {} tokens; must be at least as many, or 0", rows,
                tokenizer.file_name(), tokens);
  }
  for (const auto& [name, id] : {std::pair("begin_id", settings.begin_id), std::pair("end_id", settings.end_id)}) {
    if (id >= rows) throw_input("encoder.{} is {}, must be less than the {} rows of the table", name, id, rows);
    if (id < 0 || id >= tokens) continue;
    const TokenBytes& token = tokenizer.token_bytes(static_cast<int32_t>(id));
    if (token.kind == TokenKind::kNormal || token.kind == TokenKind::kByte) {
      throw_input("encoder.{} is {}, which {} uses for the text {}; must be a control token", name, id,
                  tokenizer.file_name(), quote_bytes(token.bytes));
    }
  }
  return rows;
}

std::shared_ptr<const Tokenizer> open_tokenizer(const TokenEncoderSettings& settings,
                                                const std::filesystem::path& folder) {
  std::filesystem::path file = settings.tokenizer;
  if (file.is_relative() && std::filesystem::exists(folder / file)) file = folder / file;
  if (!std::filesystem::exists(file)) {
    throw_input(
        "encoder.tokenizer is \"{}\": no such file in \"{}\" or the working folder; train one with `verbatim prepare "
        "--train-tokenizer bpe`, or give the path of a tokenizer.json or SentencePiece .model",
        settings.tokenizer, folder.string());
  }
  return Tokenizer::open(file);
}

TokenSegmenter make_segmenter(const TokenEncoderSettings& settings, std::shared_ptr<const Tokenizer> tokenizer) {
  return TokenSegmenter(std::move(tokenizer), static_cast<int32_t>(settings.begin_id),
                        static_cast<int32_t>(settings.end_id));
}

ModelParts make(ModelSettings& settings, const std::filesystem::path& folder, at::Generator generator) {
  if (!settings.backbone.is_stack()) {
    throw_input("backbone.kind is \"{}\"; family token needs a stack of layers, for instance \"transformer\"",
                settings.backbone.kind);
  }
  auto& encoder_settings = dynamic_cast<TokenEncoderSettings&>(*settings.encoder);
  const std::shared_ptr<const Tokenizer> tokenizer = open_tokenizer(encoder_settings, folder);
  const int64_t rows = rows_of_tables(encoder_settings, *tokenizer);
  auto encoder = std::make_shared<TokenEncoder>(make_segmenter(encoder_settings, tokenizer), rows,
                                                settings.backbone.width(), generator);
  auto backbone = make_backbone(settings.backbone, generator);
  SoftmaxDecoder::Options options{
      .symbols = rows, .end_id = encoder->segmenter().end_id(), .never = {}, .likelihood = Likelihood::kBound};
  for (int32_t id = 0; id < options.symbols; ++id) {
    const bool has_token = id < tokenizer->vocabulary_size();
    const TokenKind kind = has_token ? tokenizer->token_bytes(id).kind : TokenKind::kUnknown;
    if ((kind == TokenKind::kControl || kind == TokenKind::kUnknown) && id != options.end_id)
      options.never.push_back(id);
  }
  const auto& softmax = dynamic_cast<SoftmaxSettings&>(*settings.decoder);
  options.bias = softmax.bias;
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
          .segmenter = [](const Settings& settings, const std::filesystem::path& folder) -> std::unique_ptr<Segmenter> {
            const auto& encoder = dynamic_cast<const TokenEncoderSettings&>(settings);
            return std::make_unique<TokenSegmenter>(make_segmenter(encoder, open_tokenizer(encoder, folder)));
          },
          .make = make};
}

}  // namespace verbatim
