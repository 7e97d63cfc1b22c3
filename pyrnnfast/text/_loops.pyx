# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, binding=True
# cython: auto_pickle=False, autotestdict=False
"""The integer loops of `pyrnnfast.text` over the characters of str objects and over ragged indices.

Nothing is checked here: `vocabulary.py` and `batching.py` check first. A str is read in place, one
specialisation for each width of code point that CPython stores (1, 2 or 4 bytes). A token of the word unit is
a run of characters that `str.isspace` denies; with `lines`, each line end (LF, CR LF or CR) is a token too.
"""

from cpython.dict cimport PyDict_GetItemWithError
from cpython.long cimport PyLong_AsLongLong
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

cdef extern from *:
    """
    #if PY_VERSION_HEX >= 0x030C0000
    #define pyrnnfast_ready(text) 0 /* every str is, since 3.12 */
    #else
    #define pyrnnfast_ready(text) PyUnicode_READY(text)
    #endif
    """
    int ready "pyrnnfast_ready"(object text) except -1
    int PyUnicode_KIND(object text)
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    str PyUnicode_Substring(object text, Py_ssize_t start, Py_ssize_t stop)
    uint32_t PyUnicode_READ_CHAR(object text, Py_ssize_t index)
    bint is_space "Py_UNICODE_ISSPACE"(uint32_t character) noexcept nogil

ctypedef fused character:
    uint8_t
    uint16_t
    uint32_t

cdef struct Token:
    Py_ssize_t start
    Py_ssize_t stop  # where the search for the next one begins
    bint line_end
    uint64_t hash  # of a word


cdef inline uint64_t add_to_hash(uint64_t hash, uint32_t character) noexcept nogil:
    """FNV-1a over code points, from its 64-bit offset basis on: the same for every width of character."""
    return (hash ^ character) * <uint64_t>0x100000001B3


cdef bint next_token(const character* text, Py_ssize_t length, bint lines, Token* token) noexcept nogil:
    """Move `token` to the one after it; False at the end of the text."""
    cdef Py_ssize_t i = token.stop
    cdef uint64_t hash = <uint64_t>0xCBF29CE484222325
    while i < length and is_space(text[i]):
        if lines and (text[i] == 10 or text[i] == 13):
            token.start = i
            token.stop = i + 2 if text[i] == 13 and i + 1 < length and text[i + 1] == 10 else i + 1
            token.line_end = True
            return True
        i += 1
    if i == length:
        return False
    token.start = i
    while i < length and not is_space(text[i]):
        hash = add_to_hash(hash, text[i])
        i += 1
    token.stop = i
    token.line_end = False
    token.hash = hash
    return True


# Characters -----------------------------------------------------------------------------------------------

cdef void add_characters(const character* text, Py_ssize_t length, int64_t[::1] counts) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(length):
        counts[text[i]] += 1


def count_chars(str text not None, int64_t[::1] counts not None):
    """Add the number of occurrences of each character to `counts` [0x110000], indexed by code point."""
    ready(text)
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text)
    cdef int kind = PyUnicode_KIND(text)
    cdef const void* data = PyUnicode_DATA(text)
    with nogil:
        if kind == 1:
            add_characters(<const uint8_t*>data, length, counts)
        elif kind == 2:
            add_characters(<const uint16_t*>data, length, counts)
        else:
            add_characters(<const uint32_t*>data, length, counts)


cdef Py_ssize_t look_up_characters(const character* text, Py_ssize_t length, const int32_t[::1] table,
                                   int64_t unknown, int64_t[::1] out) noexcept nogil:
    cdef Py_ssize_t i, size = table.shape[0]
    cdef int64_t token
    for i in range(length):
        token = table[text[i]] if text[i] < size else -1
        if token < 0:
            if unknown < 0:
                return i
            token = unknown
        out[i] = token
    return -1


def encode_chars(str text not None, const int32_t[::1] table not None, int64_t unknown,
                 int64_t[::1] out not None):
    """Write the id of each character to `out` [len(text)].

    `table` holds ids by code point, -1 for none; code points past its end have none. A character without an
    id becomes `unknown`. Returns -1, or, when `unknown` is negative, the index of the first character without
    an id.
    """
    ready(text)
    cdef Py_ssize_t stopped, length = PyUnicode_GET_LENGTH(text)
    cdef int kind = PyUnicode_KIND(text)
    cdef const void* data = PyUnicode_DATA(text)
    with nogil:
        if kind == 1:
            stopped = look_up_characters(<const uint8_t*>data, length, table, unknown, out)
        elif kind == 2:
            stopped = look_up_characters(<const uint16_t*>data, length, table, unknown, out)
        else:
            stopped = look_up_characters(<const uint32_t*>data, length, table, unknown, out)
    return stopped


# Words ----------------------------------------------------------------------------------------------------

cdef Py_ssize_t number_of_tokens(const character* text, Py_ssize_t length, bint lines) noexcept nogil:
    """As many as next_token finds; free of branches, since the ends of words cannot be predicted."""
    cdef Py_ssize_t i, number = 0
    cdef bint space, after_space = True, carriage_return = False
    for i in range(length):
        space = is_space(text[i]) != 0
        number += after_space & (not space)
        number += lines & ((text[i] == 13) | ((text[i] == 10) & (not carriage_return)))
        carriage_return = text[i] == 13
        after_space = space
    return number


def count_tokens(str text not None, bint lines):
    """Return the number of words of `text`, and with `lines` of its line ends too."""
    ready(text)
    cdef Py_ssize_t number, length = PyUnicode_GET_LENGTH(text)
    cdef int kind = PyUnicode_KIND(text)
    cdef const void* data = PyUnicode_DATA(text)
    with nogil:
        if kind == 1:
            number = number_of_tokens(<const uint8_t*>data, length, lines)
        elif kind == 2:
            number = number_of_tokens(<const uint16_t*>data, length, lines)
        else:
            number = number_of_tokens(<const uint32_t*>data, length, lines)
    return number


cdef int64_t add_words(str text, const character* data, dict counts) except -1:
    cdef Token token = Token(0, 0, False, 0)
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text)
    cdef int64_t line_ends = 0
    cdef PyObject* count
    cdef str word
    while next_token(data, length, True, &token):
        if token.line_end:
            line_ends += 1
        else:
            word = PyUnicode_Substring(text, token.start, token.stop)
            count = PyDict_GetItemWithError(counts, word)
            counts[word] = 1 if count is NULL else PyLong_AsLongLong(<object>count) + 1
    return line_ends


def count_words(str text not None, dict counts not None):
    """Add the occurrences of each word to `counts` (str to int) and return the number of line ends."""
    ready(text)
    cdef int kind = PyUnicode_KIND(text)
    cdef const void* data = PyUnicode_DATA(text)
    if kind == 1:
        return add_words(text, <const uint8_t*>data, counts)
    if kind == 2:
        return add_words(text, <const uint16_t*>data, counts)
    return add_words(text, <const uint32_t*>data, counts)


cdef struct Slot:
    int32_t id  # -1: free
    uint32_t hash  # its upper half; the lower half chose the slot
    uint32_t start  # of the word's code points in the pool
    uint32_t length


cdef class WordTable:
    """A read-only hash table from words to ids that is asked with pieces of a text, without a str for each.

    Open addressing with linear probing, at most half full; a hit is confirmed code point by code point. (A
    dict of str gave 30 to 40 MB/s of English, this gives 100: no temporary str and fewer cache misses.)
    """

    cdef Slot* slots
    cdef uint64_t mask
    cdef uint32_t* pool  # the code points of all words, one word after the other

    def __cinit__(self, list words not None, int32_t first):
        """Give words[i], all distinct and without white space, the id first + i."""
        cdef uint64_t size = 16, characters = 0, i
        cdef uint32_t start = 0
        cdef int32_t id = first
        cdef str word
        while size < 2 * <uint64_t>len(words):
            size *= 2
        for word in words:
            ready(word)
            characters += PyUnicode_GET_LENGTH(word)
        if characters >> 32:
            raise OverflowError("words of more than 2**32 characters in all")
        self.slots = <Slot*>malloc(size * sizeof(Slot))
        self.pool = <uint32_t*>malloc((characters + 1) * sizeof(uint32_t))
        if self.slots is NULL or self.pool is NULL:
            raise MemoryError
        self.mask = size - 1
        for i in range(size):
            self.slots[i].id = -1
        for word in words:
            self.insert(word, id, start)
            start += <uint32_t>PyUnicode_GET_LENGTH(word)
            id += 1

    def __dealloc__(self):
        free(self.slots)
        free(self.pool)

    cdef void insert(self, str word, int32_t id, uint32_t start):
        cdef uint32_t i, length = <uint32_t>PyUnicode_GET_LENGTH(word)
        cdef uint64_t place, hash = <uint64_t>0xCBF29CE484222325
        for i in range(length):
            self.pool[start + i] = PyUnicode_READ_CHAR(word, i)
            hash = add_to_hash(hash, self.pool[start + i])
        place = home(hash) & self.mask
        while self.slots[place].id >= 0:
            place = (place + 1) & self.mask
        self.slots[place] = Slot(id, <uint32_t>(hash >> 32), start, length)

    def encode(self, str text not None, int64_t unknown, int64_t line_end, int64_t[::1] out not None):
        """Write the id of each word of `text` to `out` [count_tokens(text, line_end >= 0)].

        A word that is not in the table becomes `unknown`; a line end becomes `line_end`, or is white space
        when that is negative. Returns -1, or, when `unknown` is negative, the index in `text` of the first
        word without an id.
        """
        ready(text)
        cdef Py_ssize_t stopped, length = PyUnicode_GET_LENGTH(text)
        cdef int kind = PyUnicode_KIND(text)
        cdef const void* data = PyUnicode_DATA(text)
        with nogil:
            if kind == 1:
                stopped = look_up_words(self, <const uint8_t*>data, length, unknown, line_end, out)
            elif kind == 2:
                stopped = look_up_words(self, <const uint16_t*>data, length, unknown, line_end, out)
            else:
                stopped = look_up_words(self, <const uint32_t*>data, length, unknown, line_end, out)
        return stopped


cdef inline uint64_t home(uint64_t hash) noexcept nogil:
    return hash ^ (hash >> 32)


cdef bint same(const character* text, const uint32_t* word, uint32_t length) noexcept nogil:
    cdef uint32_t i
    for i in range(length):
        if text[i] != word[i]:
            return False
    return True


cdef int32_t look_up(WordTable table, const character* text, const Token* token) noexcept nogil:
    """The id of the word that `token` marks in `text`, -1 for none."""
    cdef uint64_t place = home(token.hash) & table.mask
    cdef uint32_t length = <uint32_t>(token.stop - token.start), upper = <uint32_t>(token.hash >> 32)
    cdef const Slot* slot = &table.slots[place]
    while slot.id >= 0:
        if (slot.hash == upper and slot.length == token.stop - token.start
                and same(text + token.start, table.pool + slot.start, length)):
            break
        place = (place + 1) & table.mask
        slot = &table.slots[place]
    return slot.id


cdef Py_ssize_t look_up_words(WordTable table, const character* text, Py_ssize_t length, int64_t unknown,
                              int64_t line_end, int64_t[::1] out) noexcept nogil:
    cdef Token token = Token(0, 0, False, 0)
    cdef Py_ssize_t i = 0
    cdef int64_t id
    while next_token(text, length, line_end >= 0, &token):
        id = line_end if token.line_end else look_up(table, text, &token)
        if id < 0:
            if unknown < 0:
                return token.start
            id = unknown
        out[i] = id
        i += 1
    return -1


# Ragged batches -------------------------------------------------------------------------------------------

def fill_padded(const int64_t[::1] tokens not None, const int64_t[::1] starts not None,
                const int64_t[::1] lengths not None, int64_t pad, int64_t[:, ::1] out not None):
    """Fill `out` [T, N]: column n gets tokens[starts[n]:starts[n] + lengths[n]], then `pad`."""
    cdef Py_ssize_t t, n
    with nogil:
        for t in range(out.shape[0]):
            for n in range(out.shape[1]):
                out[t, n] = tokens[starts[n] + t] if t < lengths[n] else pad
