#pragma once

#include <memory>

#include "families/tfree/tfree_segmenter.h"
#include "families/tfree/tfree_settings.h"
#include "families/tfree/word_calibration.h"
#include "families/tfree/word_matrix.h"
#include "model/decoder.h"
#include "nn/kernels/multi_label.h"
#include "words/dictionary.h"
#include "words/dictionary_search.h"
#include "words/trigram_prior.h"
#include "words/word_byte_model.h"

namespace verbatim {

// T-Free's decoder: a head of V logits, trained as a multi-label problem (specification, section 5), and a dictionary
// that can be exchanged without training.
//
// Likelihood `dictionary`: the next word is drawn from the dictionary's K words and one escape,
//   p(k) = softmax over K + 1 of the scores of WordCalibration,
// and behind the escape a word outside the dictionary is spelled byte by byte (WordByteModel), moved by the same
// logits. The calibration is learnt beside the model: with the multi-label loss it is fitted to a few rows now and
// then, which change nothing else, with the dictionary loss it is trained together with the rest.
class TfreeDecoder final : public TextDecoder {
 public:
  // `hasher` and `segmenter` are the encoder's; `words` the dictionary's, in order. Takes part in `generator`'s
  // numbers.
  TfreeDecoder(const TfreeDecoderSettings& settings, std::shared_ptr<const TrigramHasher> hasher,
               const TfreeSegmenter& segmenter, const WordCounts& words, int64_t width, at::Generator& generator);

  [[nodiscard]] Likelihood likelihood() const override { return Likelihood::kDictionary; }
  [[nodiscard]] at::Tensor nats(const at::Tensor& h_ND, const PositionBatch& batch) override;
  [[nodiscard]] at::Tensor training_loss(const at::Tensor& h_ND, const PositionBatch& batch) override;
  void begin_step(int64_t step) override;
  [[nodiscard]] double learning_rate_factor(std::string_view parameter) const override;
  [[nodiscard]] bool trains_on_likelihood() const override { return settings_.loss == "dictionary"; }
  [[nodiscard]] NextPosition choose(std::span<const float> h_D, const DecoderState& state, Chooser& chooser) override;
  void note(DecoderState& state, const std::vector<int32_t>& ids) const override;
  // The logits [V].
  [[nodiscard]] std::vector<float> scores(std::span<const float> h_D) override;
  [[nodiscard]] double multiplications_per_row() const override;
  [[nodiscard]] std::vector<std::string> switched_on_since(const Settings& former) const override;

  [[nodiscard]] const Dictionary& dictionary() const { return *dictionary_; }
  [[nodiscard]] WordCalibration calibration() const;
  // Natural logarithms of p(k) for the dictionary's words, and of the escape, the last of [K + 1].
  [[nodiscard]] std::vector<float> log_probabilities(std::span<const float> h_D);
  // Natural logarithm of the probability of the bytes of a word behind the escape, its end included.
  [[nodiscard]] double spelling_log_probability(std::string_view word, std::span<const float> logits_V) const;
  // The distribution behind the escape; null when words are hashed whole: then every byte costs the same.
  [[nodiscard]] WordByteModel* byte_model() const { return byte_model_.get(); }

  // The ids of the words that the rows of a batch predict, each once, for the multi-label loss.
  [[nodiscard]] nn::TargetLists target_lists(const PositionBatch& batch, std::vector<float>& weights_N) const;

 private:
  // The word that a row predicts; false when it has no target.
  [[nodiscard]] bool target_word(const PositionBatch& batch, int64_t row, std::string& word) const;
  // Nats of the choice among the dictionary and the escape for the rows given; targets [N] in [0, K], or -1.
  [[nodiscard]] at::Tensor choice_nats(const at::Tensor& h_ND, const at::Tensor& head_VD,
                                       const at::Tensor& targets_N) const;
  // singles_are_escaped: words that the dictionary's text held once count as the choice of the escape, without their
  // spelling.
  [[nodiscard]] at::Tensor nats(const at::Tensor& h_ND, const PositionBatch& batch, bool singles_are_escaped);
  // Fits the calibration to rows of a batch; returns what to add to a row's loss so that the escape's vector learns,
  // undefined when there is nothing.
  [[nodiscard]] at::Tensor fit_calibration_on(const at::Tensor& h_ND, const PositionBatch& batch);
  void set_calibration(const WordCalibration& calibration);
  // [K] what the words' sums of logits are multiplied with, and what is added then.
  [[nodiscard]] at::Tensor word_scale() const;
  [[nodiscard]] at::Tensor word_bias() const;
  // Turns sums of logits of all words into the scores of choice_nats.
  void calibrate(std::span<float> sums) const;
  [[nodiscard]] float escape_score(std::span<const float> h_D) const;
  // The score of a word that the stream has read and the dictionary lacks.
  [[nodiscard]] float score_of_other_word(std::string_view word, std::span<const float> logits_V) const;
  // A word outside the dictionary; empty when none was found.
  [[nodiscard]] std::string compose(std::span<const float> logits_V, Chooser& chooser) const;

  TfreeDecoderSettings settings_;
  std::shared_ptr<const TrigramHasher> hasher_;
  const TfreeSegmenter& segmenter_;
  std::unique_ptr<Dictionary> dictionary_;
  std::unique_ptr<DictionarySearch> search_;
  std::unique_ptr<TrigramPrior> prior_;
  std::unique_ptr<WordByteModel> byte_model_;
  std::unique_ptr<WordMatrix> matrix_;
  at::Tensor head_VD_;
  at::Tensor calibration_4_;  // whole, mean, delta, beta
  at::Tensor escape_1D_;      // u
  at::Tensor escape_bias_1_;  // its constant
  bool singles_are_new_ = false;
  // Of the training step that has begun.
  int64_t step_ = 0;
  bool lesson_due_ = false;
};

}  // namespace verbatim
