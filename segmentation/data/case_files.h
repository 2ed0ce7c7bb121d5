// SPDX-License-Identifier: Apache-2.0
// Image files taken apart by their names: which case, which sequence.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "io/files.h"

namespace metvox {

std::string lower(std::string ascii);

// One NIfTI image. A .hdr/.img pair is its .hdr.
struct ImageFile {
  Path path;
  std::string stem;    // name without folder and ending
  std::string folder;  // name of the case's folder, empty in a flat one
};
// The images of a folder and of the folders in it, sorted by path; hidden names are left out. A folder that has the
// name of an image and holds none is listed too: reading it says what is wrong.
std::vector<ImageFile> image_files(const Path& dir);
// One file, whatever its name.
ImageFile image_file(const Path& path);

// "T1CE" -> t1c and so on; a name without synonyms is its own, in lower case.
std::string sequence_key(const std::string& name);
// Endings that name a sequence: {"t1c", "t1ce", "t1gd"}.
std::vector<std::string> sequence_names(const std::string& channel_name);

// End of a file's name without its ending: _0003 of channel 3.
std::string channel_suffix(size_t channel);

// Case of a file whose name ends in -NAME or _NAME (either case), or is NAME inside a folder, which then names the
// case; empty when it does not.
std::string case_of(const ImageFile& file, const std::string& name);

// Case of a file that ends in any known sequence, in -seg or in _0000; else its own stem.
std::string group_of(const ImageFile& file);

// For each case the files of each channel, by name or by CASE_0000; none, or several, is what the caller judges.
struct FoundCase {
  std::vector<std::vector<Path>> images;  // one list a channel
  std::vector<Path> beyond;               // CASE_0004 of four channels
};
std::map<std::string, FoundCase> find_cases(const std::vector<ImageFile>& files,
                                            const std::vector<std::string>& channel_names);
// The seg files; where there are no sequences, or no name ends in -seg, also every other file that is no sequence.
std::map<std::string, std::vector<Path>> find_label_files(const std::vector<ImageFile>& files);

}  // namespace metvox
