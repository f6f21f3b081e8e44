#include "families/tfree/family.h"

#include "base/error.h"
#include "corpus/memory_map.h"
#include "families/tfree/reference_weights.h"
#include "families/tfree/tfree_decoder.h"
#include "families/tfree/tfree_encoder.h"
#include "model/weights.h"
#include "words/word_counts.h"

namespace verbatim {

namespace {

namespace fs = std::filesystem;

constexpr const char* kDictionaryFile = "dictionary.jsonl";

// The words that can be written: a file named in the settings, the one in the folder, or counted in its training text.
WordCounts find_words(const TfreeDecoderSettings& settings, const fs::path& folder, const WordSplitter& splitter) {
  if (ShapesOnly::active()) return {};
  if (settings.dictionary != "auto") {
    fs::path file = settings.dictionary;
    if (file.is_relative() && fs::exists(folder / file)) file = folder / file;
    if (!fs::exists(file)) {
      throw_input(
          "decoder.dictionary is \"{}\": no such file in \"{}\" or the working folder; make one with `verbatim "
          "dictionary build`, or set it to \"auto\"",
          settings.dictionary, folder.string());
    }
    return Dictionary::load_words(file);
  }
  if (fs::exists(folder / kDictionaryFile)) return Dictionary::load_words(folder / kDictionaryFile);
  if (fs::exists(memory_map_file(folder / "train", ".bin"))) {
    const MemoryMap map = MemoryMap::open(folder / "train");
    WordCounts counts = count_words(
        map.document_count(), [&](uint64_t index) { return map.document(index); }, splitter);
    return generate_words(std::vector<std::vector<WordCounts>>{{std::move(counts)}},
                          static_cast<size_t>(settings.dictionary_words));
  }
  throw_input(
      "family tfree needs a dictionary of words that it can write, and \"{}\" holds neither {} nor training text to "
      "count them in; make one with `verbatim dictionary build` and set decoder.dictionary",
      folder.string(), kDictionaryFile);
}

ModelParts make(ModelSettings& settings, const fs::path& folder, at::Generator generator) {
  if (!settings.backbone.is_stack()) {
    throw_input("backbone.kind is \"{}\"; family tfree needs a stack of layers, for instance \"transformer\"",
                settings.backbone.kind);
  }
  const auto& encoder_settings = dynamic_cast<const TfreeEncoderSettings&>(*settings.encoder);
  auto& decoder_settings = dynamic_cast<TfreeDecoderSettings&>(*settings.decoder);
  encoder_settings.validate();
  if (encoder_settings.init != "scaled" && settings.backbone.kind != "transformer") {
    throw_input("encoder.init is \"{}\", a scheme for transformers, and backbone.kind \"{}\"; use \"scaled\"",
                encoder_settings.init, settings.backbone.kind);
  }
  const int64_t width = settings.backbone.width();
  auto encoder = std::make_shared<TfreeEncoder>(encoder_settings, width, generator);
  auto backbone = make_backbone(settings.backbone, generator);
  WordCounts words = find_words(decoder_settings, folder, encoder->words().splitter());
  const bool has_end = std::any_of(words.begin(), words.end(),
                                   [&](const auto& word) { return word.first == encoder_settings.end_word; });
  if (!has_end) words.emplace(words.begin(), encoder_settings.end_word, 0);
  auto decoder =
      std::make_shared<TfreeDecoder>(decoder_settings, encoder->hasher(), encoder->words(), words, width, generator);
  if (encoder_settings.init != "scaled") {
    const ReferenceWeights scheme{.scheme = encoder_settings.init,
                                  .gain = encoder_settings.init_gain,
                                  .width = width,
                                  .layers = settings.backbone.stack.layers};
    draw_reference_weights(*encoder, scheme, generator);
    draw_reference_weights(*backbone, scheme, generator);
    draw_reference_weights(*decoder, scheme, generator);
  }
  // The model folder carries the dictionary itself; its settings name that copy.
  decoder_settings.dictionary = kDictionaryFile;
  return {.encoder = encoder,
          .backbone = backbone,
          .decoder = decoder,
          .files = {{kDictionaryFile, Dictionary::serialize(words)}}};
}

}  // namespace

Family tfree_family() {
  return {.name = "tfree",
          .summary = "words as sparse sets of hashed trigrams, written with an exchangeable dictionary (T-Free)",
          .encoder_settings = []() -> std::unique_ptr<Settings> { return std::make_unique<TfreeEncoderSettings>(); },
          .decoder_settings = []() -> std::unique_ptr<Settings> { return std::make_unique<TfreeDecoderSettings>(); },
          .segmenter = [](const Settings& settings, const fs::path&) -> std::unique_ptr<Segmenter> {
            const auto& encoder = dynamic_cast<const TfreeEncoderSettings&>(settings);
            encoder.validate();
            return std::make_unique<TfreeSegmenter>(encoder.split_options(), encoder.start_word, encoder.end_word);
          },
          .make = make};
}

}  // namespace verbatim
