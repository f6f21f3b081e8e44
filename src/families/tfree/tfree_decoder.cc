#include "families/tfree/tfree_decoder.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "model/weights.h"
#include "nn/kernels/dense.h"
#include "nn/rows_cpu.h"
#include "nn/torch.h"

namespace verbatim {

namespace {

// With the multi-label loss the calibration is fitted on this many rows of steps 1, 2, 4, 8 and then of every eighth.
// The first fits start from a model that changes much in between and go all the way; later ones take a share of a step,
// which averages over the samples of the last forty steps or so.
constexpr int64_t kCalibrationEvery = 8;
constexpr int64_t kCalibrationRows = 256;
constexpr int kFirstSteps = 20;
constexpr double kLeastFraction = 0.2;
// The escape's vector learns by the optimizer, with this weight: small beside the loss, so that clipping the gradient's
// norm does not notice; the optimizer does not care.
constexpr double kEscapeWeight = 0.01;
// Dictionaries whose words mostly have the count 1 were not counted in a text.
constexpr double kMostSingles = 0.25;
// Scores formed at once bound the memory; rows in few large stretches, because each one passes over the whole matrix of
// words and over its gradient.
constexpr int64_t kScoresAtOnce = int64_t{1} << 28;
constexpr int64_t kLeastRowsAtOnce = 256;

}  // namespace

TfreeDecoder::TfreeDecoder(const TfreeDecoderSettings& settings, std::shared_ptr<const TrigramHasher> hasher,
                           const TfreeSegmenter& segmenter, const WordCounts& words, int64_t width,
                           at::Generator& generator)
    : settings_(settings),
      hasher_(std::move(hasher)),
      segmenter_(segmenter),
      dictionary_(std::make_unique<Dictionary>(words, *hasher_, segmenter.splitter())),
      search_(std::make_unique<DictionarySearch>(*dictionary_)),
      matrix_(std::make_unique<WordMatrix>(*dictionary_)) {
  const TrigramOptions& hashing = hasher_->options();
  if (!hashing.whole_words) {
    prior_ = std::make_unique<TrigramPrior>(*dictionary_);
    byte_model_ =
        std::make_unique<WordByteModel>(*hasher_, *prior_, WordByteOptions{.alpha = settings_.spelling_weight});
  }
  const bool by_dictionary = settings_.loss == "dictionary";
  const auto ids = static_cast<double>(hashing.ids_per_trigram);
  // A softmax over words adds up the logits of some sixty ids: they begin smaller than logits that stand for
  // themselves.
  const double deviation = 1 / std::sqrt(static_cast<double>(width) * (by_dictionary ? 6 * ids : 1.0));
  auto head = register_module("head", std::make_shared<torch::nn::Module>("head"));
  head_VD_ = head->register_parameter("weight", initial_weight(hashing.vocabulary, width, deviation, generator));
  // Multi-label logits are odds times P, and those of a trigram's ids say the same m times.
  const double temperature = by_dictionary ? 1.0 : 1 / ids;
  const double offset = by_dictionary ? 0.0 : -std::log(settings_.positive_weight);
  calibration_4_ = at::tensor({temperature, 0.0, offset, by_dictionary ? 1.0 : 0.5}, at::kDouble).to(at::kFloat);
  escape_1D_ = at::zeros({1, width});
  escape_bias_1_ = at::full({1}, -3.0);
  double singles = 0, total = 0;
  for (const uint64_t count : dictionary_->counts()) {
    singles += count == 1 ? 1 : 0;
    total += static_cast<double>(count);
  }
  singles_are_new_ = singles < kMostSingles * total;
  if (!settings_.calibrate) return;
  auto calibration = register_module("calibration", std::make_shared<torch::nn::Module>("calibration"));
  calibration->register_parameter("weight", calibration_4_);
  auto escape = register_module("escape", std::make_shared<torch::nn::Module>("escape"));
  escape->register_parameter("weight", escape_1D_);
  escape->register_parameter("bias", escape_bias_1_);
}

bool TfreeDecoder::target_word(const PositionBatch& batch, int64_t row, std::string& word) const {
  const int64_t target = batch.targets[static_cast<size_t>(row)];
  if (target == -1) return false;
  if (target == kEndTarget) {
    word = segmenter_.end_word();
    return true;
  }
  const int64_t begin = batch.id_offsets[static_cast<size_t>(target)];
  word = TfreeSegmenter::word_of_ids(batch.ids.data() + begin,
                                     static_cast<size_t>(batch.id_offsets[static_cast<size_t>(target) + 1] - begin));
  return true;
}

at::Tensor TfreeDecoder::word_scale() const {
  const auto ids_per_trigram = static_cast<double>(hasher_->options().ids_per_trigram);
  const at::Tensor mean_K = matrix_->id_counts().reciprocal() * ids_per_trigram;
  return calibration_4_[0] + calibration_4_[1] * mean_K.to(calibration_4_.device());
}

at::Tensor TfreeDecoder::word_bias() const {
  const double per_trigram = 1.0 / hasher_->options().ids_per_trigram;
  const at::TensorOptions options = calibration_4_.options();
  return calibration_4_[2] * (matrix_->id_counts().to(options) * per_trigram) +
         calibration_4_[3] * matrix_->log_prior().to(options);
}

at::Tensor TfreeDecoder::choice_nats(const at::Tensor& h_ND, const at::Tensor& head_VD,
                                     const at::Tensor& targets_N) const {
  const at::Tensor words_KD = matrix_->of(head_VD) * word_scale().unsqueeze(1);
  const at::Tensor weight = at::cat({words_KD, escape_1D_.to(words_KD.options())});
  const at::Tensor bias = at::cat({word_bias(), escape_bias_1_}).to(words_KD.device());
  std::vector<at::Tensor> parts;
  const int64_t rows_at_once = std::max(kLeastRowsAtOnce, kScoresAtOnce / weight.size(0));
  for (int64_t begin = 0; begin < h_ND.size(0); begin += rows_at_once) {
    const int64_t end = std::min(h_ND.size(0), begin + rows_at_once);
    parts.push_back(nn::cross_entropy(nn::linear(h_ND.slice(0, begin, end), weight, bias),
                                      targets_N.slice(0, begin, end).contiguous()));
  }
  return parts.empty() ? at::zeros({0}, at::kFloat) : at::cat(parts);
}

double TfreeDecoder::spelling_log_probability(std::string_view word, std::span<const float> logits_V) const {
  if (byte_model_) return byte_model_->log_probability(word, logits_V);
  return -std::log(static_cast<double>(kWordSymbols)) * static_cast<double>(word.size() + 1);
}

at::Tensor TfreeDecoder::nats(const at::Tensor& h_ND, const PositionBatch& batch) {
  return nats(h_ND, batch, /*singles_are_escaped=*/false);
}

at::Tensor TfreeDecoder::nats(const at::Tensor& h_ND, const PositionBatch& batch, bool singles_are_escaped) {
  const int64_t rows = batch.rows();
  const auto escape = static_cast<int64_t>(dictionary_->size());
  at::Tensor targets_N = at::full({rows}, -1, at::kLong);
  std::vector<std::pair<int64_t, std::string>> escaped;
  std::string word;
  for (int64_t row = 0; row < rows; ++row) {
    if (!target_word(batch, row, word)) continue;
    const int64_t index = dictionary_->find(word);
    const bool is_single = singles_are_escaped && index >= 0 && dictionary_->count(static_cast<size_t>(index)) == 1;
    targets_N.data_ptr<int64_t>()[row] = index < 0 || is_single ? escape : index;
    if (index < 0) escaped.emplace_back(row, word);
  }
  at::Tensor choice_N = choice_nats(h_ND, head_VD_, targets_N.to(h_ND.device()));
  if (escaped.empty()) return choice_N;
  at::Tensor spelling_N = at::zeros({rows}, at::kFloat);
  const at::Tensor head = head_VD_.detach().to(at::kCPU).to(at::kFloat).contiguous();
  std::vector<float> logits(static_cast<size_t>(head.size(0)));
  for (const auto& [row, text] : escaped) {
    const at::Tensor h_D = h_ND.detach()[row].to(at::kCPU).to(at::kFloat).contiguous();
    nn::multiply_rows(h_D.data_ptr<float>(), head.data_ptr<float>(), logits.data(), 1, head.size(1), head.size(0));
    spelling_N.data_ptr<float>()[row] = static_cast<float>(-spelling_log_probability(text, logits));
  }
  return choice_N + spelling_N.to(choice_N.device()).to(choice_N.scalar_type());
}

nn::TargetLists TfreeDecoder::target_lists(const PositionBatch& batch, std::vector<float>& weights_N) const {
  nn::TargetLists targets;
  weights_N.assign(static_cast<size_t>(batch.rows()), 0.0F);
  const bool weighted = settings_.edge_weight != 1;
  const size_t per_row = hasher_->options().ids_per_trigram;
  std::string word;
  WordRows rows;
  std::vector<std::pair<int32_t, float>> ids;
  for (int64_t row = 0; row < batch.rows(); ++row) {
    if (target_word(batch, row, word)) {
      weights_N[static_cast<size_t>(row)] = 1;
      hasher_->hash(word, rows);
      ids.clear();
      for (size_t i = 0; i < rows.ids.size(); ++i) {
        const bool edge = weighted && rows.edge[i / per_row] != 0;
        ids.emplace_back(rows.ids[i], edge ? static_cast<float>(settings_.edge_weight) : 1.0F);
      }
      // An id of an inner trigram and of an edge is weighted as the larger of the two says.
      std::sort(ids.begin(), ids.end(), [](const auto& a, const auto& b) {
        return a.first != b.first ? a.first < b.first : a.second > b.second;
      });
      for (size_t i = 0; i < ids.size(); ++i) {
        if (i > 0 && ids[i].first == ids[i - 1].first) continue;
        targets.ids.push_back(ids[i].first);
        if (weighted) targets.id_weights.push_back(ids[i].second);
      }
    }
    targets.offsets.push_back(static_cast<int64_t>(targets.ids.size()));
  }
  return targets;
}

at::Tensor TfreeDecoder::training_loss(const at::Tensor& h_ND, const PositionBatch& batch) {
  // The dictionary holds every word of the text it was counted in, which therefore never shows the escape. A word that
  // came once was new when it came: it teaches the escape and itself in turn.
  if (trains_on_likelihood()) return nats(h_ND, batch, singles_are_new_ && step_ % 2 == 1);
  std::vector<float> weights;
  const nn::TargetLists targets = target_lists(batch, weights);
  const int64_t rows = batch.rows();
  const at::Tensor weight_N = at::from_blob(weights.data(), {rows}, at::kFloat).clone();
  at::Tensor loss_N =
      nn::multi_label_loss(h_ND, head_VD_, targets, weight_N, settings_.positive_weight) * settings_.loss_scale;
  if (!lesson_due_) return loss_N;
  lesson_due_ = false;
  const at::Tensor lesson = fit_calibration_on(h_ND.detach(), batch);
  return lesson.defined() ? loss_N + lesson.to(loss_N.scalar_type()) : loss_N;
}

void TfreeDecoder::begin_step(int64_t step) {
  step_ = step;
  const bool is_power_of_two = (step & (step - 1)) == 0;
  lesson_due_ = settings_.calibrate && !trains_on_likelihood() &&
                (step < kCalibrationEvery ? is_power_of_two : step % kCalibrationEvery == 0);
}

at::Tensor TfreeDecoder::fit_calibration_on(const at::Tensor& h_ND, const PositionBatch& batch) {
  const auto escape = static_cast<int64_t>(dictionary_->size());
  std::vector<int64_t> candidates, rows, targets;
  for (int64_t row = 0; row < batch.rows(); ++row) {
    if (batch.targets[static_cast<size_t>(row)] != -1) candidates.push_back(row);
  }
  if (candidates.empty()) return {};
  const auto count = static_cast<int64_t>(candidates.size());
  const int64_t taken = std::min(count, kCalibrationRows);
  std::string word;
  for (int64_t i = 0; i < taken; ++i) {
    const int64_t row = candidates[static_cast<size_t>(i * count / taken)];
    (void)target_word(batch, row, word);
    const int64_t index = dictionary_->find(word);
    // A word that the text holds once was new when it came: that is how often new words come (Good and Turing), and
    // the dictionary, counted in the very text that is learnt, would hide it.
    const bool is_new = index < 0 || (singles_are_new_ && dictionary_->count(static_cast<size_t>(index)) == 1);
    rows.push_back(row);
    targets.push_back(is_new ? escape : index);
  }
  CalibrationSample sample;
  at::Tensor h_RD;
  {
    const torch::NoGradGuard no_grad;
    const at::Device device = h_ND.device();
    const double per_trigram = 1.0 / hasher_->options().ids_per_trigram;
    h_RD = h_ND.index_select(0, at::tensor(rows, at::kLong).to(device)).to(at::kFloat);
    sample = {.sums_RK = nn::linear(h_RD, matrix_->of(head_VD_)),
              .escape_R = h_RD.matmul(escape_1D_[0].to(device)),
              .targets_R = at::tensor(targets, at::kLong).to(device),
              .trigrams_K = matrix_->id_counts().to(device) * per_trigram,
              .log_prior_K = matrix_->log_prior().to(device)};
    const bool is_early = step_ <= kCalibrationEvery;
    const double fraction = is_early ? 1.0 : static_cast<double>(kCalibrationEvery) / static_cast<double>(step_);
    const CalibrationFit fit = fit_calibration(
        sample, calibration(), {.steps = is_early ? kFirstSteps : 1, .fraction = std::max(fraction, kLeastFraction)});
    set_calibration(fit.calibration);
    if (!fit.escape_probability_R.defined()) return {};
    // What the nats' gradient of u is, without a pass backwards through the scores.
    const at::Tensor excess_R = fit.escape_probability_R - sample.targets_R.eq(escape).to(at::kFloat);
    h_RD = h_RD.t().matmul(excess_R) / static_cast<double>(taken);
  }
  return (escape_1D_[0] * h_RD).sum() * kEscapeWeight;
}

WordCalibration TfreeDecoder::calibration() const {
  const at::Tensor values = calibration_4_.detach().to(at::kCPU).to(at::kDouble);
  const double* value = values.data_ptr<double>();
  return {.whole = value[0],
          .mean = value[1],
          .delta = value[2],
          .beta = value[3],
          .escape_bias = escape_bias_1_.detach().item<double>()};
}

void TfreeDecoder::set_calibration(const WordCalibration& calibration) {
  const torch::NoGradGuard no_grad;
  calibration_4_.copy_(
      at::tensor({calibration.whole, calibration.mean, calibration.delta, calibration.beta}, at::kDouble));
  escape_bias_1_.fill_(calibration.escape_bias);
}

double TfreeDecoder::learning_rate_factor(std::string_view parameter) const {
  const bool is_calibration = parameter == "calibration.weight" || parameter == "escape.bias";
  return is_calibration && !trains_on_likelihood() ? 0 : 1;
}

std::vector<float> TfreeDecoder::scores(std::span<const float> h_D) {
  std::vector<float> logits(static_cast<size_t>(head_VD_.size(0)));
  nn::multiply_rows(h_D.data(), head_VD_.data_ptr<float>(), logits.data(), 1, static_cast<int64_t>(h_D.size()),
                    head_VD_.size(0));
  return logits;
}

double TfreeDecoder::multiplications_per_row() const {
  // The dictionary's softmax multiplies by a matrix with a row for each word.
  const double words = trains_on_likelihood() ? static_cast<double>(dictionary_->size() + 1) : 0.0;
  return words > 0 ? words * static_cast<double>(head_VD_.size(1)) : static_cast<double>(head_VD_.numel());
}

std::vector<std::string> TfreeDecoder::switched_on_since(const Settings& former) const {
  const auto* before = dynamic_cast<const TfreeDecoderSettings*>(&former);
  if (before == nullptr || before->calibrate || !settings_.calibrate) return {};
  return {"calibration.weight", "escape.weight", "escape.bias"};
}

void TfreeDecoder::calibrate(std::span<float> sums) const {
  const WordCalibration c = calibration();
  const auto per_trigram = static_cast<float>(hasher_->options().ids_per_trigram);
  const auto whole = static_cast<float>(c.whole), mean = static_cast<float>(c.mean) * per_trigram;
  const auto delta = static_cast<float>(c.delta) / per_trigram, beta = static_cast<float>(c.beta);
  const float* ids = matrix_->id_counts().data_ptr<float>();
  const float* log_prior = matrix_->log_prior().data_ptr<float>();
  for (size_t k = 0; k < sums.size(); ++k) {
    sums[k] = (whole + mean / ids[k]) * sums[k] + delta * ids[k] + beta * log_prior[k];
  }
}

float TfreeDecoder::escape_score(std::span<const float> h_D) const {
  const float* weight = escape_1D_.data_ptr<float>();
  float sum = escape_bias_1_.data_ptr<float>()[0];
  for (size_t i = 0; i < h_D.size(); ++i) sum += weight[i] * h_D[i];
  return sum;
}

std::vector<float> TfreeDecoder::log_probabilities(std::span<const float> h_D) {
  std::vector<float> values;
  search_->score_all(scores(h_D), {.variant = ScoreVariant::kLogLikelihood, .black_list = {}}, values);
  calibrate(values);
  values.push_back(escape_score(h_D));
  log_softmax(values);
  return values;
}

float TfreeDecoder::score_of_other_word(std::string_view word, std::span<const float> logits_V) const {
  WordRows rows;
  hasher_->hash(word, rows);
  std::sort(rows.ids.begin(), rows.ids.end());
  rows.ids.erase(std::unique(rows.ids.begin(), rows.ids.end()), rows.ids.end());
  float sum = 0;
  for (const int32_t id : rows.ids) sum += logits_V[static_cast<size_t>(id)];
  const WordCalibration c = calibration();
  const double trigrams = static_cast<double>(rows.ids.size()) / hasher_->options().ids_per_trigram;
  return static_cast<float>((c.whole + c.mean / trigrams) * sum + c.delta * trigrams +
                            c.beta * matrix_->log_prior_of_one());
}

std::string TfreeDecoder::compose(std::span<const float> logits_V, Chooser& chooser) const {
  if (!byte_model_) return {};
  // Some strings are no word: they are longer than any, or the splitter cuts them.
  constexpr int kTries = 8;
  constexpr size_t kLongest = 64;
  byte_model_->set_logits(logits_V);
  std::vector<float> candidates(kWordSymbols);
  Words words;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    std::string word;
    while (word.size() < kLongest) {
      const WordByteModel::Distribution& next = byte_model_->next(word);
      // Only trigrams that words have: the likelihood gives every byte string its share, but few are words.
      candidates.assign(kWordSymbols, -std::numeric_limits<float>::infinity());
      const std::span<const uint16_t> seen = prior_->continuations(WordContext::behind(word));
      for (const uint16_t symbol : seen) candidates[symbol] = static_cast<float>(std::log(next[symbol]));
      if (seen.empty()) break;
      const int64_t symbol = chooser.choose(candidates);
      if (symbol == static_cast<int64_t>(kWordEnd)) break;
      word.push_back(static_cast<char>(symbol));
    }
    words.clear();
    segmenter_.splitter().split(word, words);
    if (words.list.size() == 1 && words.list[0].text == word && dictionary_->find(word) < 0) return word;
  }
  return {};
}

NextPosition TfreeDecoder::choose(std::span<const float> h_D, const DecoderState& state, Chooser& chooser) {
  const std::vector<float> logits = scores(h_D);
  std::vector<float> candidates;
  const bool by_likelihood = settings_.variant == "likelihood";
  const ScoreOptions options{
      .variant = by_likelihood ? ScoreVariant::kLogLikelihood
                               : (settings_.variant == "first" ? ScoreVariant::kFirst : ScoreVariant::kCurrent),
      .edge_weight = by_likelihood ? 1.0F : static_cast<float>(settings_.edge_weight),
      .black_list = {}};
  const size_t words = dictionary_->size();
  if (by_likelihood) {
    search_->score_all(logits, options, candidates);
    calibrate(candidates);
    for (const std::string& word : state.words) candidates.push_back(score_of_other_word(word, logits));
    if (settings_.compose && byte_model_) candidates.push_back(escape_score(h_D));
  } else if (state.words.empty()) {
    search_->score_all(logits, options, candidates);
  } else {
    const std::vector<std::string_view> more(state.words.begin(), state.words.end());
    const DictionaryOverlay overlay(*dictionary_, more);
    DictionarySearch(overlay).score_all(logits, options, candidates);
  }
  const auto index = static_cast<size_t>(chooser.choose(candidates));
  std::string word;
  if (index < words) {
    word = dictionary_->word(index);
  } else if (index - words < state.words.size()) {
    word = state.words[index - words];
  } else {
    word = compose(logits, chooser);
    if (word.empty()) {
      // Nothing came of it: the dictionary's word that was best.
      search_->score_all(logits, options, candidates);
      calibrate(candidates);
      word = dictionary_->word(static_cast<size_t>(chooser.choose(candidates)));
    }
  }
  if (word == segmenter_.end_word()) return {.ids = {}, .ends_document = true};
  return {.ids = TfreeSegmenter::ids_of_word(word), .ends_document = false};
}

void TfreeDecoder::note(DecoderState& state, const std::vector<int32_t>& ids) const {
  // The newest ones are enough: each is scored in every step.
  constexpr size_t kMost = 256;
  std::string word = TfreeSegmenter::word_of_ids(ids.data(), ids.size());
  if (word.empty() || dictionary_->find(word) >= 0) return;
  const auto place = std::find(state.words.begin(), state.words.end(), word);
  if (place != state.words.end()) state.words.erase(place);
  state.words.push_back(std::move(word));
  if (state.words.size() > kMost) state.words.erase(state.words.begin());
}

}  // namespace verbatim
