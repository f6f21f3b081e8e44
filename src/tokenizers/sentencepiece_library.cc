#include "tokenizers/sentencepiece_library.h"

#include <dlfcn.h>

#include "base/error.h"

namespace verbatim {

namespace {

using Maker = SentencepieceLibrary* (*)();

Maker find_maker() {
  constexpr const char* kFile = "libverbatim_sentencepiece.so";
  int flags = RTLD_NOW | RTLD_LOCAL;
#if defined(RTLD_DEEPBIND) && !defined(__SANITIZE_ADDRESS__)
  flags |= RTLD_DEEPBIND;  // its own protobuf first, whatever the program has; AddressSanitizer refuses the flag
#endif
  void* library = dlopen(kFile, flags);
  if (library == nullptr) {
    throw_input("cannot open {} ({}), which reads SentencePiece models; it belongs beside the program or in ../lib",
                kFile, dlerror());
  }
  const auto maker = reinterpret_cast<Maker>(dlsym(library, "verbatim_make_sentencepiece"));
  if (maker == nullptr) throw_input("{} is of another version; install all parts from the same build", kFile);
  return maker;
}

}  // namespace

std::unique_ptr<SentencepieceLibrary> SentencepieceLibrary::make() {
  static const Maker maker = find_maker();
  return std::unique_ptr<SentencepieceLibrary>(maker());
}

}  // namespace verbatim
