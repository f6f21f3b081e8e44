#include "families/tokun/tokun_settings.h"

#include "base/error.h"

namespace verbatim {

void TokunEncoderSettings::visit(SettingsVisitor& visitor) {
  visitor.setting(
      "chain", chain,
      {.help = "parts that each level joins to one, from the bytes of UTF-32 up: \"4x16\" is 16 characters"});
  visitor.setting("borders", borders,
                  {.help = "where blocks end: when they are full, where a hash of the text says so (content) or behind "
                           "words; then an insertion changes the blocks around it only",
                   .choices = {"fixed", "content", "words"}});
  visitor.setting("network", network,
                  {.help = "gated: residual gated layers; published: as the project tokun had it in 2024",
                   .choices = {"gated", "published"}});
  visitor.setting("latent", latent, {.help = "width of a block's vector", .minimum = 2, .maximum = 65536});
  visitor.setting(
      "head", head,
      {.help = "how a byte is said: a softmax over 256 values, or eight bits", .choices = {"softmax", "bits"}});
  if (network == "gated") {
    visitor.setting("width", width, {.help = "width of the vectors inside", .minimum = 2, .maximum = 65536});
    visitor.setting("hidden", hidden,
                    {.help = "hidden width of the layer on the vector of a character, which is computed once for each "
                             "different one (0: that of the vector)",
                     .minimum = 0,
                     .maximum = 1048576});
    visitor.setting("characters", characters,
                    {.help = "the first so many characters that training sees in its text have rows of their own: they "
                             "are told apart better, and a decoder that writes whole blocks decides among them by how "
                             "near and how frequent each is; the others are their bytes alone",
                     .minimum = 0,
                     .maximum = 1048576});
    if (characters > 0) {
      visitor.setting("character_width", character_width,
                      {.help = "width of the row of each of these", .minimum = 1, .maximum = 65536});
      visitor.setting("hidden_characters", hidden_characters,
                      {.help = "in training, chance of each of these to count as unknown for a batch, so that unknown "
                               "characters are learnt amid known ones",
                       .minimum = 0,
                       .maximum = 1});
      visitor.setting(
          "separation", separation,
          {.help = "in training, weight of how likely these are mistaken for one another, each in its place "
                   "under half of encoder.noise, rare ones as often as frequent ones; needs join_layer = "
                   "false and a chain of two levels",
           .minimum = 0,
           .maximum = 1000});
    }
    visitor.setting("join_layer", join_layer,
                    {.help = "a gated layer behind the last join; without it a block is encoded by adding what is "
                             "looked up for its characters"});
  } else {
    visitor.setting("activation", activation,
                    {.help = "behind each dense layer", .choices = {"relu", "gelu", "silu", "sigmoid", "tanh"}});
    visitor.setting("normalization", normalization, {.help = "a LayerNorm in each block"});
    if (normalization) visitor.setting("normalization_gain", normalization_gain, {.help = "with gain and offset"});
    visitor.setting("attention", attention, {.help = "over the parts of a group, without weights of its own"});
    visitor.setting("places", places, {.help = "a learned row for each place in a group"});
    visitor.setting("mirrored", mirrored,
                    {.help = "the decoder walks the chain back; false: in the encoder's order, as first published"});
  }
  visitor.setting("noise", noise,
                  {.help = "largest deviation of noise added to vectors in training; their own is 1 (0: none)",
                   .minimum = 0,
                   .maximum = 100});
  if (noise > 0) {
    visitor.setting("noisy_share", noisy_share,
                    {.help = "blocks of natural text that get some, of all", .minimum = 0, .maximum = 1});
  }
  if (network == "gated") {
    visitor.setting(
        "variational", variational,
        {.help = "weight of the distance of vectors to a normal distribution (variational autoencoder); 0: none",
         .minimum = 0,
         .maximum = 1000});
  }
  visitor.setting("autoencoder", autoencoder,
                  {.help = "model or run folder of a trained autoencoder to start with; empty: weights from the seed"});
  visitor.setting("frozen", frozen, {.help = "keep the autoencoder's weights as they are"});
}

void TokunDecoderSettings::visit(SettingsVisitor& visitor) {
  visitor.setting(
      "kind", kind,
      {.help = "how a block is written: all its bytes at once, each by itself (blocks), or one after the other "
               "by a little transformer (bytes)",
       .choices = {"blocks", "bytes"}});
  if (kind == "bytes") {
    visitor.setting("width", width, {.help = "width of that transformer", .minimum = 2, .maximum = 65536});
    visitor.setting("layers", layers, {.help = "its layers", .minimum = 1, .maximum = 1024});
    visitor.setting("heads", heads, {.help = "its heads", .minimum = 1, .maximum = 4096});
    visitor.setting("recent", recent,
                    {.help = "language models: how many of the last bytes it is told besides the block's vector",
                     .minimum = 0,
                     .maximum = 1024});
    return;
  }
  visitor.setting("depth", depth,
                  {.help = "gated network: layers on the vector of a block", .minimum = 1, .maximum = 1024});
  visitor.setting("hidden", hidden,
                  {.help = "gated network: hidden width of these layers (0: that of the vector)",
                   .minimum = 0,
                   .maximum = 1048576});
  visitor.setting("character_hidden", character_hidden,
                  {.help = "gated network: hidden width of the layers on the vector of each character (0: that of the "
                           "vector)",
                   .minimum = 0,
                   .maximum = 1048576});
  visitor.setting(
      "mixing", mixing,
      {.help = "gated network: layers in which the characters of a block see each other, so that they correct "
               "each other",
       .minimum = 0,
       .maximum = 1024});
  if (mixing > 0) {
    visitor.setting("reach", reach,
                    {.help = "how many characters on each side they see; 0: all of the block, by attention",
                     .minimum = 0,
                     .maximum = 1024});
    if (reach == 0) visitor.setting("heads", heads, {.help = "heads of these", .minimum = 1, .maximum = 4096});
  }
  visitor.setting("context", context,
                  {.help = "with encoder.characters: how many characters on each side say which one is likely between "
                           "them, to settle what vectors with noise came from (0: none do)",
                   .minimum = 0,
                   .maximum = 1024});
  if (context > 0) {
    visitor.setting("context_width", context_width,
                    {.help = "width of their rows for that", .minimum = 1, .maximum = 65536});
    visitor.setting("context_hidden", context_hidden,
                    {.help = "hidden width for that", .minimum = 1, .maximum = 1048576});
  }
}

BlockOptions TokunEncoderSettings::block_options() const {
  // Padding is 0, so a NUL of the text becomes another number.
  BlockOptions options{.chain = parse_chain(chain), .shift = 0, .nul = NulForm::kEscaped};
  if (options.chain.block_bytes() % 4 != 0) {
    throw_input(
        "encoder.chain is \"{}\", {} bytes of UTF-32 in a block; expected whole characters of 4 bytes, as in \"4\", "
        "\"4x4\", \"4x16\" or \"64\"",
        chain, options.chain.block_bytes());
  }
  if (borders == "fixed") return options;
  const uint32_t characters = options.chain.block_bytes() / 4;
  BorderOptions content = complete_borders({.words = borders == "words"}, characters);
  // What ends a block then lies inside it, so that a decoder knows the end without being told.
  content.window = std::min(content.window, content.minimum);
  options.borders = content;
  return options;
}

void TokunEncoderSettings::validate() const {
  const BlockOptions options = block_options();
  if (network == "gated" && options.chain.factors.front() % 4 != 0) {
    throw_input(
        "encoder.chain is \"{}\"; the gated network reads whole characters, so the first factor must be a multiple of "
        "4 "
        "(\"4x16\", \"16x4\"); encoder.network = \"published\" takes any chain",
        chain);
  }
  if (network == "gated" && characters > 0 && options.chain.factors.front() != 4) {
    throw_input(
        "encoder.characters is {}, but encoder.chain \"{}\" joins {} bytes first; characters have vectors of their own "
        "where the first factor is 4 (\"4x16\", \"4x4x4\")",
        characters, chain, options.chain.factors.front());
  }
  if (network == "gated" && !join_layer && options.chain.factors.size() == 1) {
    throw_input("encoder.join_layer is false, but encoder.chain \"{}\" joins nothing: it has one level", chain);
  }
  if (separation > 0 && (noise == 0 || join_layer || options.chain.factors.size() != 2)) {
    throw_input(
        "encoder.separation is {}; it needs encoder.noise (is {}), encoder.join_layer = false (is {}) and an "
        "encoder.chain of two levels (is \"{}\")",
        separation, noise, join_layer, chain);
  }
  if (frozen && autoencoder.empty()) {
    throw_input("encoder.frozen is set, but encoder.autoencoder names no trained weights to keep");
  }
}

void TokunDecoderSettings::validate(const TokunEncoderSettings& encoder) const {
  if (kind != "blocks") return;
  if (encoder.network == "published" && (depth != 1 || hidden != 0 || character_hidden != 0 || mixing != 0)) {
    throw_input(
        "decoder.depth is {}, decoder.hidden {}, decoder.character_hidden {}, decoder.mixing {}; these belong to "
        "encoder.network = \"gated\", the published network has 1, 0, 0 and 0",
        depth, hidden, character_hidden, mixing);
  }
  if (context > 0 && encoder.characters == 0) {
    throw_input(
        "decoder.context is {}, but encoder.characters is 0: only characters that training knows say what is "
        "likely between them",
        context);
  }
  if (mixing == 0) return;
  if (encoder.block_options().chain.factors.size() == 1) {
    throw_input("decoder.mixing is {}, but encoder.chain \"{}\" has one level, whose characters share one vector",
                mixing, encoder.chain);
  }
  if (reach == 0 && encoder.width % heads != 0) {
    throw_input("decoder.heads is {}, must divide encoder.width ({})", heads, encoder.width);
  }
}

}  // namespace verbatim
