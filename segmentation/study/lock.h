// SPDX-License-Identifier: Apache-2.0
// One program at a time in a study's folder.
#pragma once
#include "io/files.h"

namespace metvox {

// The folder is this one's as long as it lives, of this process or another. Makes the folder and its jobs/. A folder
// that is taken is an Error (Fault::usage).
class StudyLock {
 public:
  explicit StudyLock(const Path& study);
  ~StudyLock();
  StudyLock(const StudyLock&) = delete;
  StudyLock& operator=(const StudyLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace metvox
