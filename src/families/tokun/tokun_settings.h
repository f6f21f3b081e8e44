#pragma once

#include <cstdint>
#include <string>

#include "blocks/blocks.h"
#include "settings/visitor.h"

namespace verbatim {

// How text becomes blocks, and a block one vector.
struct TokunEncoderSettings : Settings {
  std::string chain = "4x16";     // how many parts each level joins, from the bytes of UTF-32 up
  std::string borders = "fixed";  // or "content", "words": the text decides where blocks end
  std::string network = "gated";  // or "published": as the project tokun had it in May to August 2024
  int64_t latent = 256;           // width of a block's vector
  bool join_layer = true;         // gated: a layer behind the last join
  int64_t width = 192;            // gated: of the vectors inside; the published network has one width everywhere
  int64_t hidden = 0;             // gated: hidden width of the layer on a character's vector; 0: that of the vector
  int64_t characters = 0;         // gated: that training sees first have rows of their own,
  int64_t character_width = 32;   // so wide
  std::string head = "softmax";   // over the values of a byte; or "bits": eight yes or no

  // published
  std::string activation = "relu";
  bool normalization = true;       // a LayerNorm in each block,
  bool normalization_gain = true;  // with gain and offset
  bool attention = false;          // over the parts of a group, without weights
  bool places = true;              // a learned row for each place in a group
  bool mirrored = true;  // the decoder walks the factors back; false: in the encoder's order, as first published

  // training
  double noise = 0;              // largest deviation of the noise on vectors, whose own is about 1
  double noisy_share = 0.5;      // of the blocks of natural text that get some
  double hidden_characters = 0;  // chance of each known character to count as unknown for a batch
  double separation = 0;         // weight of telling known characters apart in their places
  double variational = 0;        // weight of the distance to a normal distribution; 0: no learned deviation

  // in a language model
  std::string autoencoder;  // model or run folder whose encoder and decoder it starts with
  bool frozen = false;      // and keeps

  void visit(SettingsVisitor& visitor) override;

  // Blocks of a whole number of characters. Throws InputError.
  [[nodiscard]] BlockOptions block_options() const;
  // Checks what single bounds cannot. Throws InputError.
  void validate() const;
};

// How a vector becomes the text of a block.
struct TokunDecoderSettings : Settings {
  std::string kind = "blocks";  // all bytes at once, or "bytes": one after the other, by a little transformer
  // all at once, gated network
  int64_t depth = 1;             // layers on the vector of the block,
  int64_t hidden = 0;            // their hidden width; 0: that of the vector
  int64_t character_hidden = 0;  // hidden width of the layers on each character's vector; 0: that of the vector
  int64_t mixing = 0;            // layers in which the characters of a block see
  int64_t reach = 0;             // so many beside them on each side; 0: all, by attention
  int64_t context = 0;           // known characters on each side that say what is likely between them, for settling;
  int64_t context_width = 48;    // width of their rows
  int64_t context_hidden = 160;  // and hidden width
  // one after the other
  int64_t width = 128;
  int64_t layers = 2;
  int64_t heads = 4;
  int64_t recent = 0;  // symbols of the text in front of the block that it is told

  void visit(SettingsVisitor& visitor) override;
  // Checks what bounds cannot. Throws InputError.
  void validate(const TokunEncoderSettings& encoder) const;
};

}  // namespace verbatim
