#include "train/run_settings.h"

#include "base/error.h"

namespace verbatim {

void DataSettings::visit(SettingsVisitor& visitor) {
  visitor.setting("batch_bytes", batch_bytes,
                  {.help = "text in one step", .unit = "bytes", .minimum = 16, .maximum = 1e12});
  visitor.setting("window_bytes", window_bytes,
                  {.help = "longest stretch of a document read as one sequence",
                   .unit = "bytes",
                   .minimum = 16,
                   .maximum = 1 << 30});
  visitor.setting("threads", threads,
                  {.help = "threads that prepare batches ahead of the step", .minimum = 1, .maximum = 256});
  visitor.setting("ahead", ahead, {.help = "batches prepared ahead", .minimum = 1, .maximum = 4096});
  visitor.setting(
      "random_characters", random_characters,
      {.help = "autoencoders: made-up characters beside each one of the text: 0.45 of them from all of Unicode, 0.45 "
               "from stretches such as scripts have, 0.1 sequences of emoji",
       .minimum = 0,
       .maximum = 1000});
  visitor.setting("random_shift", random_shift,
                  {.help = "autoencoders: up to so many characters are left out in front of each piece, so that blocks "
                           "begin everywhere",
                   .unit = "characters",
                   .minimum = 0,
                   .maximum = 1 << 16});
  visitor.setting("noise", noise,
                  {.help = "autoencoders: chance of each character to be replaced, left out, doubled or exchanged",
                   .minimum = 0,
                   .maximum = 1});
  visitor.setting("case_change", case_change,
                  {.help = "autoencoders: chance of each piece to change its case", .minimum = 0, .maximum = 1});
}

void OptimSettings::visit(SettingsVisitor& visitor) {
  visitor.setting("learning_rate", learning_rate, {.help = "peak learning rate of AdamW", .minimum = 0, .maximum = 10});
  visitor.setting("warmup", warmup,
                  {.help = "steps of linear rise to the peak", .unit = "steps", .minimum = 0, .maximum = 1e9});
  visitor.setting("schedule", schedule,
                  {.help = "after the rise: half a cosine down; stable, then down (wsd); or constant",
                   .choices = {"cosine", "wsd", "constant"}});
  if (schedule == "wsd") {
    visitor.setting("decay_share", decay_share,
                    {.help = "last share of the run that goes down", .minimum = 0, .maximum = 1});
  }
  if (schedule != "constant") {
    visitor.setting("minimum_ratio", minimum_ratio,
                    {.help = "final learning rate as a share of the peak", .minimum = 0, .maximum = 1});
  }
  visitor.setting("beta1", beta1, {.help = "decay of the first moment", .minimum = 0, .maximum = 0.999999});
  visitor.setting("beta2", beta2, {.help = "decay of the second moment", .minimum = 0, .maximum = 0.9999999});
  visitor.setting("epsilon", epsilon,
                  {.help = "added to the root of the second moment", .minimum = 1e-20, .maximum = 1});
  visitor.setting("weight_decay", weight_decay,
                  {.help = "decoupled weight decay of matrices", .minimum = 0, .maximum = 10});
  visitor.setting("clip", clip,
                  {.help = "largest norm of all gradients together; 0: no limit", .minimum = 0, .maximum = 1e9});
  visitor.setting("accumulation", accumulation,
                  {.help = "batches whose gradients are added for one step", .minimum = 1, .maximum = 1 << 20});
}

void TrainSettings::visit(SettingsVisitor& visitor) {
  visitor.setting(
      "steps", steps,
      {.help = "optimizer steps; 0: until max_seconds or max_flops", .unit = "steps", .minimum = 0, .maximum = 1e12});
  visitor.setting("max_seconds", max_seconds,
                  {.help = "training time over all resumed parts, evaluation not counted; 0: until steps",
                   .unit = "seconds",
                   .minimum = 0});
  visitor.setting("max_flops", max_flops,
                  {.help = "floating point operations of training, counted from the shapes of what was read: equal "
                           "compute for models that cost more or less a byte; 0: until steps or max_seconds",
                   .unit = "operations",
                   .minimum = 0});
  visitor.setting(
      "from", from,
      {.help = "model or run folder whose weights a new run starts with; empty: weights drawn from the seed"});
  visitor.setting("seed", seed, {.help = "seed of weights, data order and samples", .minimum = 0});
  visitor.setting("precision", precision,
                  {.help = "type of activations; auto: bfloat16 where the device multiplies it natively",
                   .choices = {"auto", "float32", "bfloat16"}});
  visitor.setting("device", device, {.help = "where to train", .choices = {"auto", "cpu", "cuda"}});
  visitor.setting("checkpoint_gradients", checkpoint_gradients,
                  {.help = "recompute layers in the backward pass: less memory, a third more time"});
  visitor.setting("eval_every", eval_every,
                  {.help = "steps between evaluations on held-out text; 0: never", .unit = "steps", .minimum = 0});
  visitor.setting("eval_bytes", eval_bytes,
                  {.help = "held-out text of an evaluation during training", .unit = "bytes", .minimum = 1});
  visitor.setting("sample_every", sample_every,
                  {.help = "steps between samples; 0: never", .unit = "steps", .minimum = 0});
  visitor.setting("sample_prompt", sample_prompt, {.help = "text that samples begin with"});
  visitor.setting("sample_bytes", sample_bytes,
                  {.help = "length of a sample", .unit = "bytes", .minimum = 1, .maximum = 1 << 24});
  visitor.setting("explosion_factor", explosion_factor,
                  {.help = "stop when the loss stays above this many times its best average; 0: never", .minimum = 0});
}

void CheckpointSettings::visit(SettingsVisitor& visitor) {
  visitor.setting("every", every,
                  {.help = "steps between checkpoints; 0: only at the end", .unit = "steps", .minimum = 0});
  visitor.setting("keep", keep,
                  {.help = "newest checkpoints that stay, besides the best one", .minimum = 1, .maximum = 1e6});
  visitor.setting(
      "keep_every", keep_every,
      {.help = "checkpoints at multiples of this step stay for good; 0: none", .unit = "steps", .minimum = 0});
}

void LogSettings::visit(SettingsVisitor& visitor) {
  visitor.setting("every", every, {.help = "steps between lines of metrics.jsonl", .unit = "steps", .minimum = 1});
  visitor.setting("measure_seconds", measure_seconds,
                  {.help = "time spent at the start on the machine's rate of matrix products, which speed/mfu is a "
                           "share of; 0: no speed/mfu",
                   .unit = "seconds",
                   .minimum = 0,
                   .maximum = 3600});
  visitor.setting("tensorboard", tensorboard, {.help = "also write TensorBoard events to tb/"});
}

void RunSettings::visit(SettingsVisitor& visitor) {
  model->visit(visitor);
  visitor.section("data", data, "text and batches");
  visitor.section("optim", optim, "AdamW and its schedule");
  visitor.section("train", train, "length, precision, evaluation");
  visitor.section("checkpoint", checkpoint, "saving and keeping");
  visitor.section("log", log, "metrics");
}

void RunSettings::validate() const {
  if (train.steps == 0 && train.max_seconds == 0 && train.max_flops == 0) {
    throw_input(
        "train.steps, train.max_seconds and train.max_flops are all 0: set one of them, for instance "
        "--train.steps=5000");
  }
  if (data.window_bytes > data.batch_bytes) {
    throw_input(
        "data.window_bytes is {}, must not exceed data.batch_bytes ({}); raise batch_bytes or lower window_bytes",
        data.window_bytes, data.batch_bytes);
  }
  const bool disturbs = data.random_characters > 0 || data.random_shift > 0 || data.noise > 0 || data.case_change > 0;
  if (disturbs && !model->backbone.is_none()) {
    throw_input(
        "data.random_characters, random_shift, noise and case_change are for autoencoders (backbone.kind = \"none\"); "
        "a "
        "language model would learn to write such text");
  }
}

}  // namespace verbatim
