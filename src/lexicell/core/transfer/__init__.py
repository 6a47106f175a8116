"""Labels from one data set to another: common axes, classifiers, descriptions."""
