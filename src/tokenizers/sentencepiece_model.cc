#include "tokenizers/sentencepiece_model.h"

#include <bit>

#include "base/error.h"

namespace verbatim {
namespace {

static_assert(sizeof(float) == 4);

// Field numbers of sentencepiece_model.proto.
constexpr uint64_t kModelPieces = 1;
constexpr uint64_t kModelTrainer = 2;
constexpr uint64_t kModelNormalizer = 3;
constexpr uint64_t kPieceText = 1;
constexpr uint64_t kPieceScore = 2;
constexpr uint64_t kPieceType = 3;
constexpr uint64_t kTrainerModelType = 3;
constexpr uint64_t kTrainerSpaceAsSuffix = 24;
constexpr uint64_t kTrainerByteFallback = 35;
constexpr uint64_t kNormalizerTable = 2;
constexpr uint64_t kNormalizerDummyPrefix = 3;
constexpr uint64_t kNormalizerRemoveSpaces = 4;
constexpr uint64_t kNormalizerEscapeSpaces = 5;

// One message of the wire format: a sequence of (field number, value).
class Message {
 public:
  Message(std::string_view bytes, std::string_view where, size_t offset)
      : bytes_(bytes), where_(where), offset_(offset) {}

  struct Field {
    uint64_t number = 0;
    uint64_t value = 0;           // numbers
    std::string_view bytes = {};  // strings and messages
    size_t offset = 0;            // of `bytes` in the file
    bool is_bytes = false;
  };

  [[nodiscard]] bool next(Field& field) {
    if (position_ == bytes_.size()) return false;
    const uint64_t key = varint();
    field = {.number = key >> 3};
    if (field.number == 0) fail("a field number 0");
    switch (key & 7) {
      case 0:
        field.value = varint();
        return true;
      case 1:
        take(8);
        return true;
      case 2: {
        const uint64_t size = varint();
        field.offset = offset_ + position_;
        field.bytes = take(size);
        field.is_bytes = true;
        return true;
      }
      case 5: {
        const std::string_view bytes = take(4);
        for (size_t i = 0; i < 4; ++i) {
          field.value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
        }
        return true;
      }
      default:
        fail("wire type " + std::to_string(key & 7));
    }
  }

  [[noreturn]] void fail(const std::string& found) const {
    throw_input("{}: expected a SentencePiece model, found {} at byte {}; the file is damaged or of another kind",
                where_, found, offset_ + position_);
  }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (position_ == bytes_.size()) fail("the end of the data inside a number");
      const auto byte = static_cast<unsigned char>(bytes_[position_++]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail("a number of more than ten bytes");
  }
  std::string_view take(uint64_t size) {
    if (size > bytes_.size() - position_) fail("a length of " + std::to_string(size) + " bytes, more than there are");
    const std::string_view taken = bytes_.substr(position_, static_cast<size_t>(size));
    position_ += static_cast<size_t>(size);
    return taken;
  }

  std::string_view bytes_;
  std::string_view where_;
  size_t offset_;
  size_t position_ = 0;
};

using Model = SentencepieceModel;

Model::Piece read_piece(const Message::Field& source, std::string_view where) {
  Model::Piece piece;
  Message message(source.bytes, where, source.offset);
  Message::Field field;
  while (message.next(field)) {
    if (field.number == kPieceText) {
      if (!field.is_bytes) message.fail("a piece without text");
      piece.text = field.bytes;
    } else if (field.number == kPieceScore) {
      piece.score = std::bit_cast<float>(static_cast<uint32_t>(field.value));
    } else if (field.number == kPieceType) {
      if (field.is_bytes || field.value < 1 || field.value > 6) message.fail("an unknown type of piece");
      piece.type = static_cast<Model::PieceType>(field.value);
    }
  }
  if (piece.text.empty()) message.fail("a piece without text");
  return piece;
}

}  // namespace

SentencepieceModel SentencepieceModel::parse(std::string_view bytes, std::string_view where) {
  SentencepieceModel model;
  Message message(bytes, where, 0);
  Message::Field field;
  const auto need_message = [&] {
    if (!field.is_bytes) message.fail("a number where a message belongs");
  };
  while (message.next(field)) {
    if (field.number == kModelPieces) {
      need_message();
      model.pieces.push_back(read_piece(field, where));
    } else if (field.number == kModelTrainer) {
      need_message();
      Message trainer(field.bytes, where, field.offset);
      Message::Field setting;
      while (trainer.next(setting)) {
        if (setting.number == kTrainerModelType) {
          if (setting.is_bytes || setting.value < 1 || setting.value > 4) trainer.fail("an unknown model type");
          model.algorithm = static_cast<Algorithm>(setting.value);
        }
        if (setting.number == kTrainerSpaceAsSuffix) model.space_as_suffix = setting.value != 0;
        if (setting.number == kTrainerByteFallback) model.byte_fallback = setting.value != 0;
      }
    } else if (field.number == kModelNormalizer) {
      need_message();
      Message normalizer(field.bytes, where, field.offset);
      Message::Field setting;
      while (normalizer.next(setting)) {
        if (setting.number == kNormalizerTable) model.has_normalization_table = !setting.bytes.empty();
        if (setting.number == kNormalizerDummyPrefix) model.adds_dummy_prefix = setting.value != 0;
        if (setting.number == kNormalizerRemoveSpaces) model.removes_extra_spaces = setting.value != 0;
        if (setting.number == kNormalizerEscapeSpaces) model.escapes_spaces = setting.value != 0;
      }
    }
  }
  if (model.pieces.empty()) {
    throw_input("{}: expected a SentencePiece model, found no pieces; the file is empty or of another kind", where);
  }
  return model;
}

std::string without_space_changes(std::string_view model_bytes) {
  const auto tag = [](uint64_t number, int wire_type) {
    return static_cast<char>(number << 3 | static_cast<unsigned>(wire_type));
  };
  std::string out(model_bytes);
  const char message[] = {tag(kModelNormalizer, 2),        4, tag(kNormalizerDummyPrefix, 0), 0,
                          tag(kNormalizerRemoveSpaces, 0), 0};
  out.append(message, sizeof(message));
  return out;
}

}  // namespace verbatim
