// The built program, run as a user does.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"

namespace verbatim {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

struct Result {
  int code;
  std::string output, errors;
};

std::filesystem::path work_folder() {
  static const std::filesystem::path folder = [] {
    auto path = std::filesystem::path(::testing::TempDir()) / ("verbatim_program_test." + std::to_string(getpid()));
    std::filesystem::create_directories(path);
    return path;
  }();
  return folder;
}

// Runs `verbatim WORDS` through the shell, so words may hold redirections.
Result run(const std::string& words, const std::filesystem::path& program = VERBATIM_PROGRAM) {
  const std::filesystem::path errors = work_folder() / "stderr";
  const std::string line = "cd '" + work_folder().string() + "' && exec '" + program.string() + "' " + words + " 2>'" +
                           errors.string() + "'";
  FILE* pipe = popen(line.c_str(), "r");
  Result result;
  std::array<char, 65536> buffer;
  for (size_t size; (size = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    result.output.append(buffer.data(), size);
  }
  const int status = pclose(pipe);
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.errors = read_file(errors);
  return result;
}

std::vector<std::string> command_names() {
  std::istringstream lines(run("--help").output);
  std::vector<std::string> names;
  bool is_inside = false;
  for (std::string line; std::getline(lines, line);) {
    if (line == "Commands:") {
      is_inside = true;
    } else if (line.empty()) {
      is_inside = false;
    } else if (is_inside) {
      std::istringstream words(line);
      names.emplace_back();
      words >> names.back();
    }
  }
  return names;
}

size_t count_lines(const std::string& text) { return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')); }

TEST(program, shows_its_commands_on_one_screen) {
  for (const char* words : {"--help", "-h", "help"}) {
    const Result result = run(words);
    EXPECT_EQ(result.code, 0) << words;
    EXPECT_THAT(result.errors, IsEmpty());
    EXPECT_LT(result.output.find("Examples:"), result.output.find("Commands:"));
    EXPECT_LE(count_lines(result.output), 40u);
  }
  EXPECT_THAT(command_names(), AllOf(Contains("bench"), Contains("completion")));
}

TEST(program, without_words_shows_the_help_as_a_mistake) {
  const Result result = run("");
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.output, IsEmpty());
  EXPECT_THAT(result.errors, HasSubstr("Commands:"));
}

TEST(program, every_command_answers_help_with_examples_first_on_one_screen) {
  for (const std::string& name : command_names()) {
    const Result result = run(name + " --help");
    EXPECT_EQ(result.code, 0) << name;
    EXPECT_THAT(result.errors, IsEmpty()) << name;
    const size_t example = result.output.find("verbatim " + name, result.output.find("Examples:\n"));
    EXPECT_LT(example, result.output.find("Usage: verbatim " + name)) << result.output;
    EXPECT_LE(count_lines(result.output), 40u) << result.output;
    EXPECT_EQ(run("help " + name).output, result.output) << name;

    const Result all = run(name + " --help-all");
    EXPECT_EQ(all.code, 0) << name;
    EXPECT_THAT(all.output, HasSubstr("--log-file")) << name;
  }
}

TEST(program, shows_the_help_of_all_commands_without_libtorch) {
  // The program alone: the library is looked for beside it.
  const std::filesystem::path alone = work_folder() / "alone";
  std::filesystem::create_directories(alone);
  std::filesystem::copy_file(VERBATIM_PROGRAM, alone / "verbatim", std::filesystem::copy_options::overwrite_existing);
  const auto run_alone = [&](const std::string& words) { return run(words, alone / "verbatim"); };
  EXPECT_THAT(run_alone("generate run").errors, HasSubstr("cannot open libverbatim_tensor.so"));
  for (const std::string& name : command_names()) {
    const Result result = run_alone(name + " --help");
    EXPECT_EQ(result.code, 0) << name << ": " << result.errors;
    EXPECT_EQ(result.output, run(name + " --help").output) << name;
  }
  EXPECT_EQ(run_alone("bench").output, run("bench").output);
}

TEST(program, every_command_refuses_a_wrong_flag_with_the_nearest) {
  for (const std::string& name : command_names()) {
    const Result result = run(name + " --log-fiel x");
    EXPECT_EQ(result.code, 2) << name;
    EXPECT_THAT(result.output, IsEmpty()) << name;
    EXPECT_THAT(result.errors, StartsWith("verbatim " + name +
                                          ": error: unknown flag --log-fiel; did you mean "
                                          "--log-file?\n"));
    EXPECT_THAT(result.errors, HasSubstr("Try 'verbatim " + name + " --help'."));
  }
}

TEST(program, refuses_unknown_commands_and_flags) {
  const Result slip = run("bnech");
  EXPECT_EQ(slip.code, 2);
  EXPECT_THAT(slip.errors, StartsWith("verbatim: error: unknown command \"bnech\"; did you mean 'bench'?"));
  EXPECT_EQ(run("--json bench").code, 2);
  EXPECT_EQ(run("''").code, 2);
  EXPECT_EQ(run("help nothing-of-the-kind").code, 2);
}

TEST(program, tells_its_version_and_libraries) {
  const Result result = run("--version");
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.output, StartsWith("verbatim 0."));
  for (const char* part : {"commit ", "compiler: ", "LibTorch: ", "BLAS: "}) {
    EXPECT_THAT(result.output, HasSubstr(part));
  }
}

TEST(program, lists_benches_as_text_and_json) {
  const Result text = run("bench");
  EXPECT_EQ(text.code, 0);
  EXPECT_THAT(text.output, HasSubstr("machine "));
  const Result json = run("bench --json");
  EXPECT_EQ(json.code, 0);
  std::istringstream lines(json.output);
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) names.push_back(nlohmann::json::parse(line).at("bench"));
  EXPECT_THAT(names, Contains("machine"));
  EXPECT_EQ(run("bench mashine").code, 2);
}

TEST(program, completes_all_commands) {
  const Result result = run("completion bash");
  EXPECT_EQ(result.code, 0);
  for (const std::string& name : command_names()) EXPECT_THAT(result.output, HasSubstr("    " + name + ")\n"));
  EXPECT_THAT(run("completion").errors, StartsWith("verbatim completion: error: SHELL is missing"));
  EXPECT_EQ(run("completion csh").code, 2);
}

TEST(program, fails_when_nobody_can_read_its_results) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const Result result = run("completion bash >/dev/full");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.errors, HasSubstr("verbatim completion: error: "));
  EXPECT_EQ(run("--help >/dev/full").code, 1);
}

TEST(program, writes_its_log_to_a_file_as_well) {
  const Result result = run("prepare no/such/input --out corpus --log-file log");
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.errors, StartsWith("verbatim prepare: error: "));
  EXPECT_THAT(read_file(work_folder() / "log"), AllOf(HasSubstr(" error "), HasSubstr("no/such/input")));

  const Result bad = run("prepare no/such/input --out corpus --log-file /dev/null/log");
  EXPECT_EQ(bad.code, 2);
  EXPECT_THAT(bad.errors, HasSubstr("--log-file"));
}

TEST(program, learns_conversations_and_chats) {
  std::ofstream chats(work_folder() / "chats.jsonl");
  for (int i = 0; i < 60; ++i)
    chats << R"({"prompt":"Say the word, number )" << i << R"(.","response":"word"})"
          << "\n";
  chats.close();
  const Result prepared = run("prepare chats.jsonl --instruct --chat-template tfree --out chats");
  ASSERT_EQ(prepared.code, 0) << prepared.errors;
  const Result trained = run("train '" VERBATIM_SOURCE
                             "/configs/debug/tfree.toml' --data chats --out chat-run "
                             "--train.steps=60 --train.sample_every=0 --train.eval_every=0 --optim.learning_rate=1e-2 "
                             "'--encoder.special_words=[\"<|endoftext|>\", \"<|begin_of_text|>\", "
                             "\"<|start_header_id|>\", \"<|end_header_id|>\"]'");
  ASSERT_EQ(trained.code, 0) << trained.errors;
  const Result answer = run("generate chat-run --chat -p 'Say the word, number 7.' --temp 0 -n 40 --json");
  ASSERT_EQ(answer.code, 0) << answer.errors;
  EXPECT_EQ(nlohmann::json::parse(answer.output)["text"], "word");
  // Lines from stdin are the turns of one conversation.
  std::ofstream(work_folder() / "lines") << "Say the word, number 1.\nRESET\nSay the word, number 2.\n";
  const Result turns = run("generate chat-run --chat --temp 0 -n 40 --json < lines");
  ASSERT_EQ(turns.code, 0) << turns.errors;
  std::istringstream lines(turns.output);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_EQ(nlohmann::json::parse(line)["text"], "word") << line;
    EXPECT_EQ(nlohmann::json::parse(line)["turn"], 1) << line;
  }
  EXPECT_EQ(count, 2);
}

TEST(program, builds_dictionaries_from_text_counters_and_lists) {
  const std::filesystem::path folder = work_folder();
  std::ofstream(folder / "cats.txt") << "The cat sat. The cat ran\n";
  const Result counted = run("dictionary build cats.txt --out cats.jsonl --json");
  ASSERT_EQ(counted.code, 0) << counted.errors;
  EXPECT_EQ(nlohmann::json::parse(counted.output)["words"], 16 + 5);  // the special words; The cat . ran sat
  EXPECT_THAT(read_file(folder / "cats.jsonl"), AllOf(StartsWith("[\"<|\\n|>\",1]\n[\"<|endoftext|>\",1]\n"),
                                                      HasSubstr("[\"The\",2]\n[\"cat\",2]\n[\".\",1]\n")));

  std::ofstream(folder / "list.txt") << "owl\ntwo words\ncat\n";
  const Result list = run("dictionary build list.txt --from list --lenient --out list.jsonl --json");
  ASSERT_EQ(list.code, 0) << list.errors;
  EXPECT_EQ(nlohmann::json::parse(list.output)["rejected"], 1);
  EXPECT_THAT(list.errors, AllOf(HasSubstr("list.txt:2: \"two words\" is 2 words"),
                                 HasSubstr("1 entries are not exactly one word")));

  const Result both = run("dictionary build cats.jsonl list.jsonl --from counter-jsonl --reduce 18 --out both.jsonl");
  ASSERT_EQ(both.code, 0) << both.errors;
  const std::string text = read_file(folder / "both.jsonl");
  EXPECT_EQ(count_lines(text), 18u);
  EXPECT_THAT(text, AllOf(HasSubstr("<|eot_id|>"), HasSubstr("[\"cat\",3]\n[\"The\",2]\n")));
  ASSERT_EQ(
      run("dictionary build cats.jsonl list.jsonl --from counter-jsonl --reduce 2 --strict --out both.jsonl").code, 0);
  EXPECT_EQ(read_file(folder / "both.jsonl"), "[\"cat\",3]\n[\"The\",2]\n");

  const Result several = run("dictionary build list.txt --from list --out several.jsonl");
  EXPECT_EQ(several.code, 2);
  EXPECT_THAT(several.errors, HasSubstr("list.txt:2: \"two words\" is 2 words, expected exactly one"));
  const Result broken = run("dictionary build list.txt --from counter-jsonl --out broken.jsonl");
  EXPECT_EQ(broken.code, 2);
  EXPECT_THAT(broken.errors, HasSubstr("list.txt:1: expected a JSON array [word, count], found"));
  EXPECT_FALSE(std::filesystem::exists(folder / "broken.jsonl"));
  EXPECT_EQ(run("dictionary burn list.txt --out x").code, 2);
}

// Figures: the published size of the model, and by hand 2 * (525336576 - 256 * 4096) - 1717248 for what is saved.
TEST(program, says_what_a_known_model_saves_without_its_vocabulary) {
  const Result text = run("inspect --what-if llama3-8b --encoder tokun:4x4x4");
  EXPECT_EQ(text.code, 0) << text.errors;
  for (const char* figure : {"525,336,576", "8,030,261,248", "6,983,402,496", "1,046,858,752"}) {
    EXPECT_THAT(text.output, HasSubstr(figure));
  }
  const Result json = run("inspect --what-if=llama3-8b --json");
  ASSERT_EQ(json.code, 0) << json.errors;
  const auto record = nlohmann::json::parse(json.output);
  EXPECT_EQ(record["encoder"], "tokun:4x4x4");
  EXPECT_EQ(record["before"]["parameters"], 8030261248);
  EXPECT_EQ(record["before"]["head_multiplications_per_position"], 525336576);
  EXPECT_EQ(record["encoder_parameters"], 1717248);
  EXPECT_EQ(record["saved_parameters"], 1046858752);
  EXPECT_EQ(record["after"]["multiplications_per_position"], 6979584000 - 32 * 2 * 4096 + 16 * 950272 + 2 * 256 * 4096);

  std::ofstream(work_folder() / "characters.txt") << "seventeen letters\n";
  const Result counted = run("inspect --what-if llama3-8b --encoder tokun:4x4 --data characters.txt --json");
  ASSERT_EQ(counted.code, 0) << counted.errors;
  EXPECT_EQ(nlohmann::json::parse(counted.output)["characters"], 18);
  EXPECT_EQ(nlohmann::json::parse(counted.output)["positions_after"], 5);
  EXPECT_THAT(run("inspect --help").output, HasSubstr("--what-if"));
}

TEST(program, says_what_a_known_model_saves_without_the_tensor_library) {
  const std::filesystem::path alone = work_folder() / "alone";
  std::filesystem::create_directories(alone);
  std::filesystem::copy_file(VERBATIM_PROGRAM, alone / "verbatim", std::filesystem::copy_options::overwrite_existing);
  const auto code = [&](const std::string& words) {
    return WEXITSTATUS(std::system(("'" + (alone / "verbatim").string() + "' " + words + " >/dev/null 2>&1").c_str()));
  };
  EXPECT_EQ(code("inspect --what-if llama3-8b"), 0);
  EXPECT_EQ(code("inspect missing.toml"), 2);  // says that the library is missing
}

TEST(program, refuses_what_if_questions_that_it_cannot_answer) {
  const struct {
    const char* words;
    const char* message;
  } cases[] = {
      {"--what-if llama3-8", "llama3-8b"},
      {"--what-if", "--what-if"},
      {"--what-if llama3-8b --encoder soft:64", "expected tokun:"},
      {"--what-if llama3-8b --encoder tokun:4x", "4x4x4"},
      {"--what-if llama3-8b --encoder tokun:4x0", "a factor is 0"},
      {"--what-if llama3-8b --tokenizer some.model", "--data"},
      {"--what-if llama3-8b --data missing.txt", "missing.txt"},
      {"--what-if llama3-8b some/model", "some/model"},
      {"some/model --encoder tokun:4x4x4", "--what-if"},
  };
  for (const auto& question : cases) {
    const Result result = run(std::string("inspect ") + question.words);
    EXPECT_EQ(result.code, 2) << question.words;
    EXPECT_THAT(result.output, IsEmpty()) << question.words;
    EXPECT_THAT(result.errors, HasSubstr(question.message)) << question.words;
  }
}

TEST(program, leaves_with_130_when_interrupted) {
  const pid_t child = fork();
  if (child == 0) {
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    execl(VERBATIM_PROGRAM, VERBATIM_PROGRAM, "bench", "machine", "--seconds", "60", nullptr);
    _exit(99);
  }
  // Signals arrive before, while and after the handlers are set; before, the default action ends the program.
  int status = 0;
  for (int i = 0; i < 600 && waitpid(child, &status, WNOHANG) == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    // Once the handlers are there: the catching mask of the process says so.
    std::ifstream proc("/proc/" + std::to_string(child) + "/status");
    for (std::string line; std::getline(proc, line);) {
      if (line.starts_with("SigCgt:") && (std::stoull(line.substr(7), nullptr, 16) & (1ull << (SIGTERM - 1))) != 0) {
        kill(child, SIGTERM);
        i = 600;
      }
    }
  }
  if (!WIFEXITED(status) || status == 0) waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
}

// --- verbatim train ---

// A corpus and a tiny configuration in the work folder, made once.
void prepare_training() {
  static const bool done = [] {
    std::ofstream text(work_folder() / "text.txt");
    for (int i = 0; i < 400; ++i) text << "line " << i << " of a text about rivers and stones\n";
    text.close();
    std::ofstream(work_folder() / "tiny.toml") << R"(
[model]
family = "byte"
[backbone]
kind = "transformer"
width = 16
layers = 1
heads = 2
[data]
batch_bytes = 256
window_bytes = 128
[train]
steps = 1000000
eval_every = 0
sample_every = 0
[log]
every = 1
tensorboard = false
)";
    const Result result = run("prepare text.txt --out corpus");
    EXPECT_EQ(result.code, 0) << result.errors;
    return true;
  }();
  ASSERT_TRUE(done);
}

TEST(program, encode_shows_the_nesting_of_levels_and_writes_a_page) {
  write_file_atomically(work_folder() / "levels.toml", R"([model]
family = "patch"
[backbone]
kind = "level"
width = 16
heads = 2
boundary = "space"
[backbone.inner]
kind = "level"
width = 16
heads = 2
boundary = "fixed:2"
[backbone.inner.inner]
kind = "transformer"
width = 16
layers = 1
heads = 2
)");
  write_file_atomically(work_folder() / "numbers.txt", "one two three four five");
  const Result text = run("encode levels.toml --file numbers.txt");
  EXPECT_EQ(text.code, 0) << text.errors;
  EXPECT_THAT(text.output, StartsWith("one ·two │three ·four │five\n"
                                      "· level 1: 5 patches, 4.60 bytes each\n"
                                      "│ level 2: 3 patches, 7.67 bytes each\n"));
  EXPECT_THAT(run("encode levels.toml --level 1 'one two'").output, StartsWith("one ·two\n7 bytes in 2 parts"));

  const Result page = run("encode levels.toml --file numbers.txt --html numbers.html --json");
  EXPECT_EQ(page.code, 0) << page.errors;
  const std::string html = read_file(work_folder() / "numbers.html");
  EXPECT_EQ(nlohmann::json::parse(page.output).at("page_bytes").get<size_t>(), html.size());
  EXPECT_THAT(html, AllOf(HasSubstr("<title>numbers.txt - Verbatim</title>"), HasSubstr("<td>fixed:2</td><td>3</td>")));
  EXPECT_EQ(run("encode levels.toml '' --html empty.html").code, 0);
  // A page takes the name of a file for the file; text on the terminal stays text, with a word about it.
  ASSERT_EQ(run("encode levels.toml numbers.txt --html named.html").code, 0);
  EXPECT_EQ(read_file(work_folder() / "named.html"), html);
  const Result name = run("encode levels.toml numbers.txt");
  EXPECT_THAT(name.output, StartsWith("numbers.·txt\n"));
  EXPECT_THAT(name.errors, HasSubstr("--file numbers.txt"));
}

// Seven billion parameters, and no dictionary beside the settings: what cuts text needs neither.
TEST(program, encode_cuts_by_rules_without_weights_or_dictionary) {
  write_file_atomically(work_folder() / "large.toml", R"([model]
family = "tfree"
[backbone]
kind = "transformer"
width = 4096
layers = 32
heads = 32
)");
  const Result words = run("encode large.toml 'The cat sat.'");
  EXPECT_EQ(words.code, 0) << words.errors;
  EXPECT_THAT(words.output, StartsWith("The· cat· sat·.\n12 bytes in 4 parts"));

  write_file_atomically(work_folder() / "learned.toml", R"([model]
family = "patch"
[backbone]
kind = "level"
boundary = "learned"
width = 4096
heads = 32
[backbone.inner]
kind = "transformer"
width = 4096
layers = 32
heads = 32
)");
  const Result learned = run("encode learned.toml 'The cat sat.'");
  EXPECT_EQ(learned.code, 2);
  EXPECT_THAT(learned.errors, HasSubstr("needs the weights"));
}

TEST(program, encode_says_what_does_not_fit_a_page) {
  write_file_atomically(work_folder() / "long.txt", std::string((1 << 20) + 1, 'x'));
  const Result result = run("encode levels.toml --file long.txt --html long.html");
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.errors, AllOf(HasSubstr("long.txt has 1048577 bytes"), HasSubstr("cut it")));
  EXPECT_EQ(run("encode levels.toml text --file long.txt").code, 2);
  EXPECT_EQ(run("encode levels.toml text --html page.html --level 1").code, 2);
}

TEST(program, train_saves_and_leaves_with_130_when_interrupted_and_resumes) {
  prepare_training();
  const std::filesystem::path folder = work_folder();
  const pid_t child = fork();
  if (child == 0) {
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, STDOUT_FILENO);
    dup2(open((folder / "train.err").c_str(), O_WRONLY | O_CREAT, 0644), STDERR_FILENO);
    if (chdir(folder.c_str()) != 0) _exit(98);
    execl(VERBATIM_PROGRAM, VERBATIM_PROGRAM, "train", "tiny.toml", "--data", "corpus", "--out", "run", nullptr);
    _exit(99);
  }
  // Once it has trained a few steps, as its metrics say.
  const auto steps_written = [&] {
    std::ifstream file(folder / "run/metrics.jsonl");
    std::string text((std::istreambuf_iterator<char>(file)), {});
    return count_lines(text);
  };
  int status = 0;
  for (int i = 0; i < 1200 && steps_written() < 5 && waitpid(child, &status, WNOHANG) == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  ASSERT_GE(steps_written(), 5u) << read_file(folder / "train.err");
  const Result second = run("train tiny.toml --data corpus --out run");
  EXPECT_EQ(second.code, 2);
  EXPECT_THAT(second.errors,
              AllOf(StartsWith("verbatim train: error: run: "), HasSubstr("(process " + std::to_string(child) + ")")));
  kill(child, SIGINT);
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_THAT(read_file(folder / "train.err"), HasSubstr("the same command continues"));
  const int64_t saved = std::stoll(read_file(folder / "run/latest"));
  EXPECT_EQ(static_cast<size_t>(saved), steps_written());

  const Result resumed =
      run("train tiny.toml --data corpus --out run --json --train.steps=" + std::to_string(saved + 3));
  EXPECT_EQ(resumed.code, 0) << resumed.errors;
  EXPECT_THAT(resumed.errors, HasSubstr("resumed at step " + std::to_string(saved)));
  const auto result = nlohmann::json::parse(resumed.output);
  EXPECT_EQ(result.at("steps"), saved + 3);
  EXPECT_EQ(result.at("end"), "finished");
  EXPECT_THAT(read_file(folder / "run/train.log"),
              AllOf(HasSubstr("resumed at step"), HasSubstr("for data"), HasSubstr("the same command continues")));
}

TEST(program, train_goes_on_with_a_model) {
  prepare_training();
  ASSERT_EQ(run("train tiny.toml --data corpus --out base --train.steps=2").code, 0);
  const Result further =
      run("train base --data corpus --out further --train.steps=1 --optim.learning_rate=0 --optim.warmup=0");
  ASSERT_EQ(further.code, 0) << further.errors;
  const auto weights_of = [](const std::string& folder) {
    const std::filesystem::path run = work_folder() / folder;
    std::string step = read_file(run / "latest");
    while (!step.empty() && step.back() == '\n') step.pop_back();
    return read_file(run / "checkpoints" / step / "model.safetensors");
  };
  EXPECT_EQ(weights_of("further"), weights_of("base"));
  EXPECT_THAT(read_file(work_folder() / "further/config.toml"), HasSubstr("from = \"base\""));
  const Result none = run("train corpus --data corpus --out never --train.steps=1");
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.errors, HasSubstr("neither a model folder"));
}

TEST(program, train_shows_its_plan_without_training) {
  prepare_training();
  const Result result = run("train tiny.toml --data corpus --out never --dry-run --optim.warmup=7");
  EXPECT_EQ(result.code, 0) << result.errors;
  EXPECT_THAT(result.output,
              AllOf(HasSubstr("warmup = 7"), HasSubstr("training_state_bytes"), HasSubstr("activations")));
  EXPECT_FALSE(std::filesystem::exists(work_folder() / "never"));
  const auto plan = nlohmann::json::parse(run("train tiny.toml --data corpus --out never --dry-run --json").output);
  EXPECT_EQ(plan.at("training_state_bytes").get<int64_t>(), 16 * plan.at("parameters").get<int64_t>());
  // Every piece has a row for each byte; the first of a document one more, the others one less.
  EXPECT_NEAR(plan.at("batch_positions").get<double>(), plan.at("batch_bytes").get<double>(), 5);
}

TEST(program, train_refuses_wrong_settings_with_advice) {
  prepare_training();
  const std::string command = "train tiny.toml --data corpus --out never ";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"--optim.learning_rat=1", "learning_rate"}, {"--train.precision=float13", "bfloat16"},
      {"--optim.warmup=many", "optim.warmup"},     {"--data.batch_bytes=-1", "data.batch_bytes"},
      {"--train.steps=0", "train.max_seconds"},    {"--model.family=patch", "backbone.kind"},
      {"--backbone.heads=3", "backbone.width"}};
  for (const auto& [words, advice] : cases) {
    const Result result = run(command + words);
    EXPECT_EQ(result.code, 2) << words;
    EXPECT_THAT(result.errors, AllOf(StartsWith("verbatim train: error: "), HasSubstr(advice))) << words;
  }
  EXPECT_EQ(run("train tiny.toml --data nothing --out never").code, 2);
  EXPECT_EQ(run("train nothing.toml --data corpus --out never").code, 2);
  std::ofstream(work_folder() / "slip.toml") << "[model]\nfamily = \"byte\"\n[optim]\nlerning_rate = 1\n";
  const Result slip = run("train slip.toml --data corpus --out never");
  EXPECT_EQ(slip.code, 2);
  EXPECT_THAT(slip.errors, AllOf(HasSubstr("slip.toml:4"), HasSubstr("learning_rate")));
  EXPECT_FALSE(std::filesystem::exists(work_folder() / "never"));
}

}  // namespace
}  // namespace verbatim
