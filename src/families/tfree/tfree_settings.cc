#include "families/tfree/tfree_settings.h"

#include "base/error.h"

namespace verbatim {

void TfreeEncoderSettings::visit(SettingsVisitor& visitor) {
  visitor.setting(
      "mode", mode,
      {.help = "improved rules, or strict: those of the reference, exactly", .choices = {"improved", "strict"}});
  visitor.setting(
      "vocabulary", vocabulary,
      {.help = "ids that trigrams are hashed to: rows of the table and of the head", .minimum = 2, .maximum = 1 << 24});
  visitor.setting("ids_per_trigram", ids_per_trigram,
                  {.help = "ids of each trigram (vocab_population)", .minimum = 1, .maximum = 256});
  visitor.setting("shared_ids", shared_ids,
                  {.help = "how many of them a trigram shares with its lower-case form", .minimum = 0, .maximum = 256});
  visitor.setting("whole_words", whole_words, {.help = "hash whole words instead of trigrams"});
  visitor.setting("lowercase", lowercase, {.help = "read all text in lower case (loses the case)"});
  if (mode == "improved") {
    visitor.setting("keep_marks", keep_marks, {.help = "combining marks stay with the character before them"});
    visitor.setting("cut_blankless", cut_blankless, {.help = "cut scripts without blanks into short words"});
    visitor.setting("longest_word", longest_word,
                    {.help = "longer runs are cut, 0: never", .unit = "bytes", .minimum = 0, .maximum = 1 << 20});
    visitor.setting("special_words", special_words,
                    {.help = "words of the form <|name|> that are one position when they stand in a text (chats)"});
  }
  visitor.setting("aggregation", aggregation,
                  {.help = "how the rows of a trigram's ids are put together", .choices = {"sum", "mean"}});
  visitor.setting("normalize", normalize, {.help = "divide a word's vector by its number of trigrams"});
  visitor.setting("init", init,
                  {.help = "how the weights of a new model are drawn, in all its parts: scaled, so that sums of many "
                           "rows begin as large as one vector, or a scheme of the reference",
                   .choices = {"scaled", "pythia", "xavier", "normal"}});
  if (init == "normal") {
    visitor.setting("init_gain", init_gain,
                    {.help = "times width^-1/2: deviation of all weights", .minimum = 0, .maximum = 1e6});
  }
  visitor.setting("trained_words", trained_words,
                  {.help = "words seen at once in training, told to other programs by export; 0: not known",
                   .minimum = 0,
                   .maximum = 1 << 30});
  visitor.setting("start_word", start_word, {.help = "word read before a document; empty: none"});
  visitor.setting("end_word", end_word, {.help = "word predicted behind a document"});
}

void TfreeEncoderSettings::validate() const {
  if (shared_ids > ids_per_trigram) {
    throw_input("encoder.shared_ids is {}, must be at most encoder.ids_per_trigram ({})", shared_ids, ids_per_trigram);
  }
  if (vocabulary < ids_per_trigram) {
    throw_input("encoder.vocabulary is {}, must be at least encoder.ids_per_trigram ({}): the ids of a trigram differ",
                vocabulary, ids_per_trigram);
  }
  if (end_word.empty())
    throw_input("encoder.end_word is empty; a document must end with a word, such as {}", kEndOfText);
}

SplitOptions TfreeEncoderSettings::split_options() const {
  SplitOptions options = SplitOptions::strict();
  if (mode == "improved") {
    options = {};
    options.keep_marks = keep_marks;
    options.cut_blankless = cut_blankless;
    options.longest_word = static_cast<uint32_t>(longest_word);
    options.special_words = special_words;
  }
  options.lowercase = lowercase;
  return options;
}

TrigramOptions TfreeEncoderSettings::trigram_options() const {
  TrigramOptions options;
  options.vocabulary = static_cast<uint32_t>(vocabulary);
  options.ids_per_trigram = static_cast<uint32_t>(ids_per_trigram);
  options.shared_ids = static_cast<uint32_t>(shared_ids);
  options.whole_words = whole_words;
  options.strict = mode == "strict";
  return options;
}

void TfreeDecoderSettings::visit(SettingsVisitor& visitor) {
  visitor.setting("loss", loss,
                  {.help = "multi-label: each id of the next word for itself, as published; dictionary: softmax over "
                           "the dictionary's words, whose vectors are sums of the head's rows",
                   .choices = {"multi-label", "dictionary"}});
  if (loss == "multi-label") {
    visitor.setting(
        "positive_weight", positive_weight,
        {.help = "weight of the ids that are set against those that are not", .minimum = 1e-3, .maximum = 1e6});
    visitor.setting("loss_scale", loss_scale, {.help = "factor of the loss", .minimum = 1e-6, .maximum = 1e6});
  }
  visitor.setting(
      "calibrate", calibrate,
      {.help = "learn how logits become probabilities of words; else a fixed rule, and no parameters for it"});
  visitor.setting("edge_weight", edge_weight,
                  {.help = "weight of trigrams that touch a word's edge", .minimum = 0, .maximum = 255});
  visitor.setting(
      "dictionary", dictionary,
      {.help = "words that can be written: a file of `verbatim dictionary build`; auto: dictionary.jsonl of "
               "the data or model folder, else counted in the training text"});
  visitor.setting("dictionary_words", dictionary_words,
                  {.help = "words counted at most (auto)", .minimum = 1, .maximum = 1 << 24});
  visitor.setting("variant", variant,
                  {.help = "score of a word when writing: likelihood (calibrated), or the reference's first or current",
                   .choices = {"likelihood", "current", "first"}});
  visitor.setting("compose", compose, {.help = "write words that are in no dictionary, byte by byte"});
  visitor.setting("spelling_weight", spelling_weight,
                  {.help = "how much the logits move the bytes of such words", .minimum = 0, .maximum = 100});
}

}  // namespace verbatim
