#include "words/dictionary.h"
