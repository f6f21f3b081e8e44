#include "words/word_splitter.h"
